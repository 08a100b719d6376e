use super::*;

#[test]
fn times_are_read_and_shown_as_postgresql_does() {
    for (text, ms, shown) in [
        ("0", 0, "0"),
        ("250", 250, "250ms"),
        (" 1.5 s", 1_500, "1500ms"),
        ("90s", 90_000, "90s"),
        ("120s", 120_000, "2min"),
        ("1h", 3_600_000, "1h"),
        ("1d", 86_400_000, "1d"),
        ("900us", 1, "1ms"),
    ] {
        assert_eq!(parse_ms(text), Some(ms), "{text}");
        assert_eq!(show_ms(ms), shown);
    }
    for text in ["", "-1", "1 week", "s", "1.2.3", "30d"] {
        assert_eq!(parse_ms(text), None, "{text}");
    }
}
