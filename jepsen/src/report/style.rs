//! How reports look: one palette for light and one for dark.

/// The colours, as the names that everything else goes by.
const PALETTE: &str = "
:root{color-scheme:light dark;--paper:#fbfbf9;--card:#fff;--ink:#1d2327;--soft:#5f6b73;--line:#d9dee2;--ok:#2368a8;--fail:#b8730a;--info:#b3261e;
--good:#1d7a4c;--bad:#b3261e;--open:#8a6100;--shade:#c9803022;--edge-ww:#2368a8;--edge-wr:#1d7a4c;--edge-rw:#b3261e;--edge-order:#6b5aa6}
@media(prefers-color-scheme:dark){:root{--paper:#15181b;--card:#1d2226;--ink:#e6e9eb;--soft:#9aa6ae;--line:#343c42;--ok:#6cb2f0;--fail:#e3a54a;--info:#ff8a80;
--good:#5fcf95;--bad:#ff8a80;--open:#e0b64a;--shade:#e3a54a26;--edge-ww:#6cb2f0;--edge-wr:#5fcf95;--edge-rw:#ff8a80;--edge-order:#b3a4f0}}
";

/// What pictures of cycles need, also outside a page.
const CYCLE: &str = "
svg text{font:12px ui-sans-serif,system-ui,sans-serif;fill:var(--ink)}
.cycle .box{fill:var(--card);stroke:var(--soft)}.cycle .name{font-weight:600}.cycle .does{font:10px ui-monospace,monospace;fill:var(--soft)}
.edge path{stroke:var(--edge-order);stroke-width:1.8}.edge polygon{fill:var(--edge-order)}.edge .kind{font-weight:600;paint-order:stroke;stroke:var(--card);stroke-width:6px;fill:var(--edge-order)}
.ww path{stroke:var(--edge-ww)}.ww polygon,.ww .kind{fill:var(--edge-ww)}.wr path{stroke:var(--edge-wr)}.wr polygon,.wr .kind{fill:var(--edge-wr)}
.rw path{stroke:var(--edge-rw)}.rw polygon,.rw .kind{fill:var(--edge-rw)}.process path,.realtime path{stroke-dasharray:5 4}
";

const PAGE: &str = "
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 ui-sans-serif,system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 24px 64px}h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 10px}
p.lead{margin:0 0 20px;color:var(--soft)}.badge{display:inline-block;padding:2px 12px;border-radius:999px;color:var(--paper);font-weight:600;font-size:15px;vertical-align:middle;margin-left:10px}
.badge.valid{background:var(--good)}.badge.invalid{background:var(--bad)}.badge.unknown{background:var(--open)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:12px;margin:0 0 8px;padding:0;list-style:none}
.figures li{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px}.figures b{display:block;font-size:21px;font-variant-numeric:tabular-nums}
.figures span{color:var(--soft);font-size:13px}.figures .bad b{color:var(--bad)}
figure{margin:0 0 18px;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px 14px 8px;overflow-x:auto}figcaption{color:var(--soft);font-size:13px;margin-bottom:6px}
figure svg{display:block;width:100%;height:auto}figure svg.cycle{width:auto;max-width:100%;margin:0 auto}
.grid{stroke:var(--line);stroke-width:1}.axis{fill:var(--soft);font-size:11px}.fault{fill:var(--shade)}.fault-name{font-size:11px;fill:var(--fail)}
.bar.ok{fill:var(--ok)}.bar.fail{fill:var(--fail)}.bar.info{fill:var(--info)}.dot{fill:none;stroke-linecap:round;stroke-width:3.2;opacity:.55}
.dot.ok{stroke:var(--ok)}.dot.fail{stroke:var(--fail)}.dot.info{stroke:var(--info)}.gap{stroke:var(--bad);stroke-width:4}.gap-name{fill:var(--bad);font-size:11px}
.key{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 5px 0 14px}.key.ok{background:var(--ok)}.key.fail{background:var(--fail)}.key.info{background:var(--info)}.key.shaded{background:var(--shade);border:1px solid var(--line)}
table{border-collapse:collapse;width:100%;background:var(--card);border:1px solid var(--line);border-radius:8px;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:6px 12px;border-bottom:1px solid var(--line)}th:first-child,td:first-child{text-align:left}th{font-weight:600;color:var(--soft);font-size:13px}
article{border-left:3px solid var(--bad);padding:2px 0 2px 16px;margin:0 0 22px}article figure{margin:0 0 8px}article pre{margin:0 0 16px}summary{cursor:pointer;color:var(--soft);margin:0 0 12px}article h3{margin:0 0 4px;font-size:16px}article p{margin:0 0 8px;color:var(--soft)}
pre{margin:0;padding:12px;background:var(--card);border:1px solid var(--line);border-radius:8px;overflow-x:auto;font:12.5px/1.5 ui-monospace,monospace;white-space:pre-wrap}
.why{border-left:3px solid var(--open);padding-left:16px}footer{margin-top:40px;color:var(--soft);font-size:13px}
";

/// The style sheet of a page.
pub(crate) fn sheet() -> String {
    format!("{PALETTE}{CYCLE}{PAGE}")
}

/// A picture with its own style sheet, to stand in a file of its own.
pub(super) fn standalone(svg: &str) -> String {
    let sheet = format!("<style>{PALETTE}{CYCLE}</style>");
    match svg.find('>') {
        Some(end) => format!("{}{sheet}{}", &svg[..=end], &svg[end + 1..]),
        None => svg.to_owned(),
    }
}
