//! What a power cut leaves of a disk.

use std::collections::BTreeSet;
use std::rc::Rc;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::content::Content;
use super::disk::{Change, Disk, InodeId, Node, ROOT};

/// How the changes that no sync covers fare. Drawn anew for each cut: independent coins alone would almost
/// never lose everything, or nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Lost,
    Kept,
    /// All up to a moment; the one at that moment is torn.
    UpTo(u64),
    Each,
}

impl Fate {
    fn draw(disk: &Disk, rng: &mut ChaCha8Rng) -> Fate {
        match rng.random_range(0..8) {
            0 => Fate::Lost,
            1 => Fate::Kept,
            2 | 3 => Fate::UpTo(rng.random_range(disk.oldest_change()..=disk.next_change)),
            _ => Fate::Each,
        }
    }

    fn keeps(self, number: u64, rng: &mut ChaCha8Rng) -> bool {
        match self {
            Fate::Lost => false,
            Fate::Kept => true,
            Fate::UpTo(last) => number < last,
            Fate::Each => rng.random(),
        }
    }

    fn tears(self, number: u64, rng: &mut ChaCha8Rng) -> bool {
        match self {
            Fate::Lost | Fate::Kept => false,
            Fate::UpTo(last) => number == last,
            Fate::Each => rng.random_ratio(1, 3),
        }
    }
}

impl Disk {
    /// The disk after a power cut now: what is durable, and of the rest what `rng` chooses.
    pub(super) fn crash(mut self, rng: &mut ChaCha8Rng) -> Disk {
        let fate = Fate::draw(&self, rng);
        let ids: Vec<InodeId> = self.inodes.keys().copied().collect();
        for id in ids {
            let dirty = match &self.inodes[&id].node {
                Node::File(file) => !file.pending.is_empty(),
                Node::Dir(_) => false,
            };
            // A file whose sync failed differs from its durable state without a pending change.
            if (dirty || self.inodes[&id].sync_failed)
                && let Some(Node::File(file)) = self.node_mut(id)
            {
                for (number, change) in std::mem::take(&mut file.pending) {
                    survive(Rc::make_mut(&mut file.durable), number, &change, fate, rng);
                }
                file.cached = file.durable.clone();
            }
        }
        for change in std::mem::take(&mut self.names) {
            if fate.keeps(change.number, rng) {
                self.make_durable(&change);
            }
        }
        self.switch_on();
        self
    }

    /// The disk with everything that was written, switched off in good order.
    pub(super) fn settled(mut self) -> Disk {
        let ids: Vec<InodeId> = self.inodes.keys().copied().collect();
        for id in ids {
            let failed = self.inodes[&id].sync_failed;
            let dirty = matches!(&self.inodes[&id].node, Node::File(f) if !f.pending.is_empty());
            if (dirty || failed)
                && let Some(Node::File(file)) = self.node_mut(id)
            {
                file.pending.clear();
                file.durable = file.cached.clone();
            }
        }
        for change in std::mem::take(&mut self.names) {
            self.make_durable(&change);
        }
        self.switch_on();
        self
    }

    fn oldest_change(&self) -> u64 {
        let files = self.inodes.values().filter_map(|inode| match &inode.node {
            Node::File(file) => file.pending.first().map(|(number, _)| *number),
            Node::Dir(_) => None,
        });
        let names = self.names.first().map(|change| change.number);
        files.chain(names).min().unwrap_or(self.next_change)
    }

    /// Names are those that are durable; what cannot be reached by them is gone, and so are handles.
    fn switch_on(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut next = vec![ROOT];
        while let Some(id) = next.pop() {
            let Some(Node::Dir(dir)) = self.node_mut(id) else {
                continue;
            };
            if dir.cached != dir.durable {
                dir.cached = dir.durable.clone();
            }
            next.extend(dir.cached.values().filter(|id| reached.insert(**id)));
        }
        self.inodes.retain(|id, _| reached.contains(id));
        for inode in self.inodes.values_mut() {
            Rc::make_mut(inode).forget_handles(1);
        }
        self.recount();
    }
}

/// One change of a file that no sync covers: there, not there, or torn at sectors. The length of the file
/// may have come to the device without the bytes, but not the other way round.
fn survive(durable: &mut Content, number: u64, change: &Change, fate: Fate, rng: &mut ChaCha8Rng) {
    if let Change::Write { offset, data } = change
        && fate.tears(number, rng)
    {
        let keep = rng.random_range(1..10);
        durable.write_torn(*offset, data, || rng.random_ratio(keep, 10));
    } else if fate.keeps(number, rng) {
        change.apply(durable);
        return;
    }
    if let Change::Write { offset, data } = change
        && fate == Fate::Each
        && rng.random_ratio(1, 4)
    {
        let end = offset + data.len() as u64;
        durable.set_len(durable.len().max(end));
    }
}
