//! A plan's devices by state over time: the samples, the drawing, the table beside it.

mod common;

use common::{Server, now, read};
use serde_json::{Value, json};
use sota_center::domain::{Counters, PlanId, Sample};
use sota_center::store::{Change, Scope};

#[test]
fn the_monitor_draws_what_the_samples_say() {
    let server = Server::start();
    server.furnish();
    let own = &server.token;
    let get = |path: &str| server.json("GET", path, own, Value::Null).1;
    let path = "/api/v1/plans/5/progress";
    assert_eq!(get(path), json!([]), "a saved plan has none");
    let activated = server.json("POST", "/api/v1/plans/5/activate", own, json!({}));
    assert_eq!(activated.0, 200);
    let first = get(path);
    assert_eq!(first.as_array().map(Vec::len), Some(2), "{first}");
    assert_eq!(first[0]["counters"]["not_upgraded"], 1);
    // as if it had run for an hour
    let sample = |minutes: i64, upgraded, not_upgraded| {
        let sample = Sample {
            plan: PlanId(5),
            at: now() - minutes * 60_000,
            counters: Counters {
                upgraded,
                not_upgraded,
                ..Counters::default()
            },
        };
        Change::Sample(sample, 1, 0)
    };
    let changes = vec![sample(60, 0, 4), sample(30, 2, 2), sample(10, 3, 1)];
    let done = server.service.store().commit(&Scope::OWNER, changes);
    server.runtime.block_on(done).expect("stored");
    let all = get(path);
    assert_eq!(all.as_array().map(Vec::len), Some(5), "{all}");
    let (status, page) = read(server.call("GET", "/projects/1/plans/5", own, "", b""));
    let page = page.as_str().expect("HTML");
    assert_eq!(status, 200);
    assert!(
        page.contains("<path class=\"ok\" d=\"M0.0 200.0L"),
        "{page}"
    );
    assert!(page.contains("<path class=\"idle\""), "{page}");
    assert!(page.contains("role=\"img\" aria-label="), "{page}");
    // the table says the same
    for cell in [
        "data-label=\"Upgraded\">3<",
        "data-label=\"Not upgraded\">1<",
    ] {
        assert!(page.contains(cell), "{cell}: {page}");
    }
}
