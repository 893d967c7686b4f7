//! One page that needs nothing else: no script, no font, no network.

use std::fmt::{Display, Write};

use super::super::coverage::Coverage;
use super::super::fault::{Fault, Role};
use super::super::phase::Phase;
use super::{RunReport, figures};

/// Faults of a long run that are listed one by one.
const LISTED_MAX: usize = 400;

const STYLE: &str = "
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#1c2330;background:#fff}
h1{font-size:1.5rem;margin:0 0 .3rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}
table{border-collapse:collapse;font-size:.85rem}td,th{border:1px solid #d6dbe4;padding:.2rem .5rem;text-align:left;vertical-align:top}
th{background:#f2f4f8;font-weight:600}.n{text-align:right}.good{background:#dcf3e1}.bad{background:#fbd9d9}.none{color:#a4acb9;background:#fafbfc}
.verdict{font-size:1.1rem;font-weight:600;padding:.5rem .8rem;border-radius:.3rem;display:inline-block}
.facts{display:flex;flex-wrap:wrap;gap:.5rem 2rem;margin:1rem 0}.facts b{display:block;font-size:1.25rem}.facts span{color:#5b6576;font-size:.85rem}
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:#3a4353}
code{background:#f2f4f8;padding:.1rem .3rem;border-radius:.2rem;word-break:break-all}pre{white-space:pre-wrap;background:#fdf0f0;padding:.6rem;font-size:.8rem}
.key{font-size:.85rem;color:#5b6576}.key i{display:inline-block;width:.8rem;height:.8rem;border-radius:.15rem;margin:0 .3rem 0 .9rem;vertical-align:-.1rem}
";

/// The page of a run.
#[must_use]
pub fn page(report: &RunReport) -> String {
    let mut html = String::new();
    let title = format!("{} under faults, seed {}", report.target, report.seed);
    put(
        &mut html,
        format_args!("<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"),
    );
    put(&mut html, format_args!("<h1>{title}</h1><p>Repeat with <code>{}</code></p>", escape(&report.command)));
    verdict(&mut html, report);
    facts(&mut html, report);
    put(&mut html, "<h2>Faults, who led, and when nobody was served</h2>");
    put(&mut html, figures::timeline(report));
    put(&mut html, figures::key());
    put(&mut html, "<h2>Answers and latency</h2>");
    put(&mut html, figures::service(report));
    contest(&mut html, report);
    invariants(&mut html, report);
    coverage(&mut html, report);
    faults(&mut html, report);
    left_out(&mut html, report);
    html.push_str("</html>\n");
    html
}

/// Writing to a string does not fail.
fn put(html: &mut String, text: impl Display) {
    let _ = write!(html, "{text}");
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn verdict(html: &mut String, report: &RunReport) {
    if report.violations.is_empty() {
        put(html, "<p class='verdict good'>No violation</p>");
        return;
    }
    put(html, format_args!("<p class='verdict bad'>{} violations</p><pre>", report.violations.len()));
    for violation in &report.violations {
        put(html, format_args!("{}\n", escape(violation)));
    }
    put(html, "</pre>");
}

fn facts(html: &mut String, report: &RunReport) {
    let longest = report.gaps.iter().map(|gap| gap.length_ms).max().unwrap_or(0);
    let fresh = report.fresh_grants_ms.map_or("never".to_owned(), |ms| format!("{ms} ms"));
    let gaps = report.grant_gaps_in_short;
    put(html, "<div class=facts>");
    for (value, what) in [
        (format!("{:.0} s", report.seconds), "under faults"),
        (report.faults.len().to_string(), "faults"),
        (report.operations.to_string(), "operations"),
        (report.grants.to_string(), "grants"),
        (report.unknown.to_string(), "of unknown fate"),
        (report.failed.to_string(), "refused or failed"),
        (format!("{longest} ms"), "longest time without an answer"),
        (
            format!("{} / {} / {} ms", gaps.p50_ms, gaps.p99_ms, gaps.max_ms),
            "p50, p99, longest of the gaps without a grant",
        ),
        (gaps.count.to_string(), "gaps without a grant"),
        (report.stalls.len().to_string(), "times the machine itself stood still"),
        (format!("{:.0} %", report.lag.taken_percent), "of the machine taken by others"),
        (format!("{:.0} ms", report.lag.late_p99_ms), "a sleeping thread woke up late (p99)"),
        (report.lost_unguarded.to_string(), "updates lost at resources that no token guards"),
        (fresh, "to fresh grants for all, after the last fault"),
    ] {
        put(html, format_args!("<div><b>{value}</b><span>{what}</span></div>"));
    }
    put(html, "</div>");
}

fn contest(html: &mut String, report: &RunReport) {
    let Some(contest) = &report.contest else { return };
    put(html, "<h2>What clients counted on</h2><table><tr><th>what<th>how often");
    for (what, count) in [
        ("grants", contest.grants),
        ("two clients counted on one lock at once", contest.overlaps),
        ("… after both had renewed their leases", contest.overlaps_confirmed),
        ("grants with a dead lease", contest.dead_grants),
        ("tokens out of order", contest.tokens_out_of_order),
    ] {
        put(html, format_args!("<tr><td>{what}<td class=n>{count}"));
    }
    put(html, format_args!("<tr><td>longest time of two at once<td class=n>{} ms</table>", contest.overlap_ms_max));
}

fn invariants(html: &mut String, report: &RunReport) {
    put(html, "<h2>Invariants</h2><table><tr><th>invariant<th>rule<th>facts held against it<th>verdict");
    for line in &report.invariants {
        let (class, word) = match (line.broken, line.checked) {
            (true, _) => ("bad", "broken"),
            (false, 0) => ("none", "nothing to show"),
            (false, _) => ("good", "holds"),
        };
        let (name, rule, checked) = (&line.name, &line.rule, line.checked);
        put(html, format_args!("<tr><td>{name}<td>{rule}<td class=n>{checked}<td class={class}>{word}"));
    }
    put(html, "</table>");
}

fn coverage(html: &mut String, report: &RunReport) {
    let mut hits = Coverage::default();
    for (cell, count) in &report.coverage {
        for _ in 0..*count {
            hits.hit(*cell);
        }
    }
    put(html, "<h2>What this run hit: fault × role × phase of a lock</h2><table><tr><th>fault<th>role");
    for phase in Phase::ALL {
        put(html, format_args!("<th>{phase}"));
    }
    for fault in Fault::ALL {
        for role in fault.roles() {
            put(html, format_args!("<tr><td title='{}'>{fault}<td>{role}", fault.words()));
            for phase in Phase::ALL {
                let count = hits.hits(super::Cell { fault, role, phase });
                let class = if count > 0 { "good" } else { "none" };
                put(html, format_args!("<td class='n {class}'>{count}"));
            }
        }
    }
    put(
        html,
        "</table><p class=key>Cells that make no sense are not counted:</p><table><tr><th>fault<th>role<th>reason",
    );
    for fault in Fault::ALL {
        for role in [Role::Leader, Role::Follower, Role::Client] {
            if let Some(why) = fault.makes_no_sense(role) {
                put(html, format_args!("<tr><td>{fault}<td>{role}<td>{why}"));
            }
        }
    }
    put(html, "</table>");
}

fn faults(html: &mut String, report: &RunReport) {
    put(
        html,
        "<h2>Faults in order</h2><table><tr><th>from<th>until<th>fault<th>on<th>aimed at<th>hit<th>what came of it",
    );
    for fault in report.faults.iter().take(LISTED_MAX) {
        let hit = fault.hit.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let seconds = |ms: u64| ms as f64 / 1e3;
        put(
            html,
            format_args!(
                "<tr><td class=n>{:.2} s<td class=n>{:.2} s<td>{}<td>{}, {}<td>{}<td>{hit}<td>{}",
                seconds(fault.from_ms),
                seconds(fault.until_ms),
                fault.fault,
                fault.role,
                fault.victim,
                fault.aimed,
                escape(&fault.notes.join("; "))
            ),
        );
    }
    put(html, "</table>");
    if report.faults.len() > LISTED_MAX {
        put(html, format_args!("<p>The first {LISTED_MAX} of {}; report.json has all.</p>", report.faults.len()));
    }
}

fn left_out(html: &mut String, report: &RunReport) {
    put(html, "<h2>Left out</h2><ul><li>membership change: the product has none yet");
    for (fault, why) in &report.left_out {
        put(html, format_args!("<li>{fault}: it needs {}", escape(why)));
    }
    for step in &report.not_brought {
        put(html, format_args!("<li>{}", escape(step)));
    }
    put(html, "</ul>");
}
