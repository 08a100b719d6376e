use super::*;

#[test]
fn every_workload_is_found_by_the_name_it_gives_itself() {
    for name in names() {
        assert_eq!(named(name).expect("it is registered").name(), name);
    }
    assert!(named("no such workload").is_none());
}

#[test]
fn a_history_in_which_nothing_happened_is_unknown_to_every_workload() {
    for workload in all() {
        let verdict = workload.check(&History::default());
        assert_eq!(verdict.validity(), crate::checker::Validity::Unknown, "{}", workload.name());
    }
}
