//! The oracles are measured: what judges were told in clean runs is damaged, one piece at a time. Each judge objects
//! to something, and what nobody objects to is harmless, for a reason that stands here.

use mainstem_world::{Measured, testify, walk};

const CHOICES: usize = 150;

fn measure(seeds: std::ops::Range<u64>) -> Measured {
    let mut measured = Measured::default();
    for seed in seeds {
        let run = walk(seed, CHOICES, &[]);
        measured.add(&testify(&run.recording).expect("random runs break nothing"), 2);
    }
    measured
}

#[test]
fn every_damage_is_objected_to_or_harmless_and_every_judge_objects() {
    let measured = measure(100..210);
    let mut wrong = measured.blind_spots();
    wrong.extend(measured.needless_reasons());
    assert!(wrong.is_empty(), "{}\n\n{measured}", wrong.join("\n"));
}
