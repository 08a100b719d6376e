//! Data cut anywhere gives the same rows.

use super::fields::{Cutter, Field};
use super::options::{CopyFormat, CopyOptions};

fn options(format: CopyFormat) -> CopyOptions {
    let csv = format == CopyFormat::Csv;
    CopyOptions {
        format,
        delimiter: if csv { b',' } else { b'\t' },
        null: if csv { String::new() } else { "\\N".into() },
        header: false,
        quote: b'"',
        escape: b'"',
    }
}

fn cut(format: CopyFormat, data: &str, step: usize) -> Vec<Vec<Field>> {
    let mut cutter = Cutter::new(options(format));
    let mut rows = Vec::new();
    for chunk in data.as_bytes().chunks(step) {
        cutter.push(chunk);
        while let Some(row) = cutter.next_row().expect("the data is well formed") {
            rows.push(row);
        }
    }
    rows.extend(cutter.finish().expect("the data is well formed"));
    rows
}

fn some(text: &str) -> Field {
    Some(text.to_owned())
}

#[test]
fn text_is_cut_and_unescaped() {
    let data = "1\tone\n2\t\\N\n3\ta\\tb\\\\c\\nd\\x41\\101\n\\.\nafter\tthe end\n";
    let rows = vec![vec![some("1"), some("one")], vec![some("2"), None], vec![some("3"), some("a\tb\\c\ndAA")]];
    for step in [1, 2, 3, 7, 1000] {
        assert_eq!(cut(CopyFormat::Text, data, step), rows, "in chunks of {step}");
    }
}

#[test]
fn csv_is_cut_and_unquoted() {
    let data = "1,one\r\n2,\n3,\"\"\n4,\"a,\"\"b\"\"\nc\"\n5,last";
    let rows = vec![
        vec![some("1"), some("one")],
        vec![some("2"), None],
        vec![some("3"), some("")],
        vec![some("4"), some("a,\"b\"\nc")],
        vec![some("5"), some("last")],
    ];
    for step in [1, 2, 3, 7, 1000] {
        assert_eq!(cut(CopyFormat::Csv, data, step), rows, "in chunks of {step}");
    }
}
