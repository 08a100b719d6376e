use clap::CommandFactory;

use super::*;

#[test]
fn the_arguments_are_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn durations_need_a_unit() {
    assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
    assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
    assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
    assert!(parse_duration("5").is_err());
    assert!(parse_duration("ms").is_err());
    assert!(parse_duration("1h").is_err());
}

#[test]
fn the_number_of_copies_is_odd() {
    for (text, copies) in [("1", 1), ("3", 3), ("9", 9)] {
        assert_eq!(parse_replication_factor(text), Ok(copies));
    }
    for text in ["0", "2", "4", "11", "-3", "three", ""] {
        assert!(parse_replication_factor(text).is_err(), "{text}");
    }
}
