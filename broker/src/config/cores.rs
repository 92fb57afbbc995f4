//! The list of cores, as taskset writes it.

/// More cores than this is a mistyped range, not a machine.
const CORE_MAX: usize = 4096;

/// Parses `0,2-7` into sorted, distinct core numbers. The error says what is wrong.
pub(super) fn parse(text: &str) -> Result<Vec<usize>, String> {
    let mut cores = Vec::new();
    for part in text.split(',').map(str::trim) {
        let number = |text: &str| match text.trim().parse::<usize>() {
            Ok(core) if core < CORE_MAX => Ok(core),
            _ => Err(format!("{part:?} is neither a core nor a range of cores")),
        };
        match part.split_once('-') {
            None => cores.push(number(part)?),
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last {
                    return Err(format!("the range {part} runs backwards"));
                }
                cores.extend(first..=last);
            }
        }
    }
    cores.sort_unstable();
    cores.dedup();
    Ok(cores)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lists_and_ranges() {
        assert_eq!(parse("0,2-4, 3"), Ok(vec![0, 2, 3, 4]));
        assert_eq!(parse("7"), Ok(vec![7]));
    }

    #[test]
    fn nonsense_is_named() {
        for text in ["", "a", "1,", "3-1", "0-99999999999", "-1", "1-2-3"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
