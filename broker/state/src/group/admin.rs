//! DescribeGroups, ListGroups, DeleteGroups.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;

use super::classic::{Group, State};
use super::member::Member;
use super::offsets::tombstone;
use super::record::Record;
use super::reply::{DescribedGroup, DescribedMember, ListedGroup, Reply};
use super::request::{Input, Token};
use super::writes::Outcome;
use super::{Coordinator, Effects};

/// Group type of everything here, as ListGroups v5 has it.
const CLASSIC: &str = "classic";
/// KIP-1043: DescribeGroups says that a group does not exist.
const DESCRIBES_UNKNOWN: i16 = 6;

impl Coordinator {
    /// DescribeGroups for one group. An unknown one is `Dead`, and from v6 on an error too.
    pub fn describe(&self, group_id: &str, api_version: i16) -> DescribedGroup {
        let Some(group) = self.groups.get(group_id) else {
            let is_error = api_version >= DESCRIBES_UNKNOWN;
            return DescribedGroup {
                error: if is_error {
                    ErrorCode::GroupIdNotFound
                } else {
                    ErrorCode::None
                },
                error_message: is_error.then(|| format!("Group {group_id} not found.")),
                group_id: group_id.to_owned(),
                state: "Dead",
                protocol_type: String::new(),
                protocol_data: String::new(),
                members: Vec::new(),
            };
        };
        // Until the group is stable its members' metadata and protocol belong to no agreed generation.
        let protocol = group
            .protocol_name
            .as_deref()
            .filter(|_| group.state == State::Stable);
        DescribedGroup {
            error: ErrorCode::None,
            error_message: None,
            group_id: group_id.to_owned(),
            state: group.state.name(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            protocol_data: protocol.unwrap_or_default().to_owned(),
            members: group
                .members
                .values()
                .map(|member| describe_member(member, protocol))
                .collect(),
        }
    }

    /// ListGroups. Empty filters let everything through; names match in any letter case.
    pub fn list(&self, states: &[String], types: &[String]) -> Vec<ListedGroup> {
        let type_fits =
            types.is_empty() || types.iter().any(|name| name.eq_ignore_ascii_case(CLASSIC));
        let state_fits = |group: &&Group| {
            states.is_empty()
                || states
                    .iter()
                    .any(|name| name.trim().eq_ignore_ascii_case(group.state.name()))
        };
        let listed = |group: &Group| ListedGroup {
            group_id: group.id.to_string(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state.name(),
            group_type: CLASSIC,
        };
        self.groups
            .values()
            .filter(|_| type_fits)
            .filter(state_fits)
            .map(listed)
            .collect()
    }

    /// Empty groups go with all their offsets; what is committed while the tombstones are on their way waits.
    pub(super) fn delete_groups(
        &mut self,
        token: Token,
        group_ids: Vec<String>,
        out: &mut Effects,
    ) {
        for group_id in &group_ids {
            if let Some(Group {
                closed: Some(waiting),
                ..
            }) = self.groups.get_mut(group_id.as_str())
            {
                waiting.push(Input::DeleteGroups(token, group_ids));
                return;
            }
        }
        let mut records = Vec::new();
        let mut deleted: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut results = Vec::with_capacity(group_ids.len());
        for group_id in group_ids {
            let result = match self.groups.get(group_id.as_str()) {
                None => ErrorCode::GroupIdNotFound,
                Some(group) if group.state != State::Empty => ErrorCode::NonEmptyGroup,
                Some(group) => {
                    if deleted.insert(group.id.clone()) {
                        let partitions: BTreeSet<(&str, i32)> = self.offsets_of(group).collect();
                        records.extend(
                            partitions
                                .into_iter()
                                .map(|(topic, index)| tombstone(&group_id, topic, index)),
                        );
                        records.push(Record::Group {
                            group: group_id.clone(),
                            value: None,
                        });
                    }
                    ErrorCode::None
                }
            };
            results.push((group_id, result));
        }
        if records.is_empty() {
            out.reply(token, Reply::DeleteGroups(results));
            return;
        }
        for group_id in &deleted {
            self.close_group(group_id);
        }
        let deleted = deleted.into_iter().collect();
        self.writes
            .append(out, records, Outcome::DeleteGroups(token, results, deleted));
    }
}

fn describe_member(member: &Member, protocol: Option<&str>) -> DescribedMember {
    DescribedMember {
        member_id: member.id.to_string(),
        group_instance_id: member.group_instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        metadata: protocol
            .map(|protocol| member.metadata(protocol).to_vec())
            .unwrap_or_default(),
        assignment: member.assignment.clone(),
    }
}
