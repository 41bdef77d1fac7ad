//! How long it takes. Run by hand: `cargo test --release -- --ignored --nocapture speed`.

use super::world::*;
use std::time::Instant;

#[test]
#[ignore = "a measurement"]
fn fifty_thousand_files_and_600_megabytes() {
    let world = World::new();
    for d in 0..500 {
        std::fs::create_dir(world.src(&format!("d{d}"))).unwrap();
        for f in 0..100 {
            std::fs::write(world.src(&format!("d{d}/f{f}")), vec![b'x'; 4000]).unwrap();
        }
    }
    for f in 0..40 {
        let mut state = f as u32 + 1;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        std::fs::write(world.src(&format!("big{f}")), (0..10 << 20).map(|_| next()).collect::<Vec<_>>())
            .unwrap();
    }
    let mut clock = Instant::now();
    let mut lap = |what: &str| {
        println!("{what}: {:?}", clock.elapsed());
        clock = Instant::now();
    };
    world.source().survey(&world.scope()).unwrap();
    lap("survey");
    let (streams, captured) = world.capture();
    lap("capture");
    let mut job = world.job(streams, &captured.facts).unwrap();
    lap("plan");
    job.stage().unwrap();
    lap("stage");
    job.commit().unwrap();
    lap("commit");
    job.check();
    lap("check");
    let again = world.job(job.streams, &captured.facts).unwrap();
    lap("plan of an unchanged tree");
    assert_eq!(again.plan.changes.len(), 0);
}
