//! Random runs of the pure world: clean, repeatable, and as good in parts as whole.

use mainstem_world::{Batch, Choice, Recording, Run, Verdict, replay, shrink, tell, walk};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

const CHOICES: usize = 200;

fn runs(seeds: std::ops::Range<u64>) -> impl Iterator<Item = Run> {
    seeds.map(|seed| walk(seed, CHOICES, &[]))
}

#[test]
fn random_runs_break_nothing() {
    let batch = Batch {
        seeds: 0..400,
        limit: None,
        jobs: 2,
        choices: CHOICES,
        stop: false,
        branch_new: false,
        without: &[],
    };
    let walked = batch.run(|_, _| {});
    let first = walked.first.first().map(|(seed, run)| (seed, run.verdict.to_string()));
    assert_eq!(first, None, "cargo sim walk --seeds SEED..SEED+1 tells it");
    assert_eq!((walked.seeds, walked.failed), (400, 0));
    assert!(walked.runs > walked.seeds, "some branch: {}", walked.runs);
}

#[test]
fn a_seed_makes_the_same_run_whoever_walks_beside_it() {
    let alone: Vec<_> = runs(0..20).map(|run| run.recording).collect();
    let beside: Vec<_> = std::thread::scope(|scope| {
        let walked = [0, 1].map(|_| scope.spawn(|| runs(0..20).map(|run| run.recording).collect::<Vec<_>>()));
        walked.map(|walked| walked.join().expect("it walks")).into()
    });
    assert!(beside.iter().all(|walked| *walked == alone), "D1");
    assert!(alone.windows(2).all(|pair| pair[0] != pair[1]), "each seed has a run of its own");
}

#[test]
fn a_run_is_the_same_when_it_is_read_from_its_file() {
    for run in runs(0..20) {
        let text = run.recording.to_string();
        let read = Recording::parse(&text).expect("it was written just now");
        assert_eq!(read, run.recording);
        let (told, verdict) = tell(&read, &[]);
        assert_eq!((verdict, replay(&run.recording, &[])), (Verdict::Clean, Verdict::Clean));
        assert_eq!(told, tell(&run.recording, &[]).0, "D1");
    }
}

#[test]
fn every_list_of_choices_is_a_run() {
    let mut rng = StdRng::seed_from_u64(1);
    let of_all: Vec<Choice> = runs(0..10).flat_map(|run| run.recording.choices).collect();
    for run in runs(0..60) {
        let mut choices: Vec<_> =
            run.recording.choices.into_iter().filter(|_| rng.random_bool(0.7)).collect();
        if rng.random_bool(0.3) {
            choices.shuffle(&mut rng);
        }
        // Those of other worlds too, with replicas, chats and viewers that are not here.
        choices.extend((0..30).map(|_| of_all[rng.random_range(0..of_all.len())]));
        let recording = Recording { choices, ..run.recording };
        assert_eq!(replay(&recording, &[]), Verdict::Clean, "{recording}");
    }
}

#[test]
fn what_was_found_once_stays_mended() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/found");
    let files =
        std::fs::read_dir(directory).expect("what was found").map(|file| file.expect("a file").path());
    let mut count = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a text");
        let recording = Recording::parse(&text).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        assert_eq!(replay(&recording, &[]), Verdict::Clean, "{}", file.display());
        count += 1;
    }
    assert!(count > 0, "nothing was looked at");
}

#[test]
fn a_clean_run_is_not_shrunk() {
    let run = walk(3, CHOICES, &[]);
    assert_eq!(shrink(&run, &[]).recording, run.recording);
}
