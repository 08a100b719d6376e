use super::*;

#[test]
fn a_locality_reads_as_it_is_written() {
    let locality: Locality = "region=eu, zone=a".parse().expect("valid");
    assert_eq!(locality.to_string(), "region=eu,zone=a");
    assert_eq!(locality.tier("zone"), Some("a"));
    assert_eq!("".parse::<Locality>().expect("an empty one is valid"), Locality::default());
    assert!("region".parse::<Locality>().is_err());
    assert!("=a".parse::<Locality>().is_err());
}

#[test]
fn localities_share_leading_tiers_only() {
    let a: Locality = "region=eu,zone=a".parse().expect("valid");
    let b: Locality = "region=eu,zone=b".parse().expect("valid");
    let c: Locality = "region=us,zone=a".parse().expect("valid");
    assert_eq!(a.common_tiers(&a), 2);
    assert_eq!(a.common_tiers(&b), 1);
    assert_eq!(a.common_tiers(&c), 0);
}
