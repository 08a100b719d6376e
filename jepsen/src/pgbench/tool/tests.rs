use super::*;

#[test]
fn a_report_and_a_log_are_read() {
    let report = "number of transactions actually processed: 1096\nnumber of failed transactions: 3 (0.27%)\ntps = 218.5 (without initial connection time)\n";
    assert_eq!(figure(report, "number of transactions actually processed"), Some(1096.0));
    assert_eq!(figure(report, "number of failed transactions"), Some(3.0));
    assert_eq!(figure(report, "tps"), Some(218.5));
    assert_eq!(acknowledgement("0 199 2241 0 1175850568 995598 0"), Some(Duration::new(1_175_850_568, 995_598_000)));
    assert_eq!(acknowledgement("0 200 failed 0 1175850568 998000 9"), None);
}

#[test]
fn a_gap_reaches_to_the_ends_of_the_run() {
    let at = Duration::from_secs;
    assert_eq!(longest_gap(vec![at(12), at(11)], at(10), at(20)), at(8));
    assert_eq!(longest_gap(vec![], at(10), at(20)), at(10));
}
