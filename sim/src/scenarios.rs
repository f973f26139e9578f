//! `cargo sim scenarios`: tells each story in the cluster and in the pure world, and says what came of it.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use mainstem_oracles::Guarantee;
use mainstem_sim::run::{RunOptions, Verdict, run};
use mainstem_sim::story::Story;
use mainstem_story::StoryWorld;
use mainstem_world::{Telling, Untold, tell_story};

/// Options of `cargo sim scenarios`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ScenariosArgs {
    names: Vec<String>,
    /// Tells them in one world only.
    #[arg(long)]
    world: Option<World>,
    /// Switches an oracle off, by the id of its guarantee.
    #[arg(long)]
    without_oracle: Option<Guarantee>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum World {
    Cluster,
    Pure,
}

/// What came of a story in the pure world.
enum Pure {
    Clean,
    /// It says why it cannot be told there.
    Untold,
    /// Every sentence has a time.
    Plan,
    Failed(Box<Telling>),
    /// What the story says of the pure world is not so.
    Wrong(String),
}

/// Stories that came true, and of how many.
#[derive(Default)]
struct Count {
    clean: usize,
    told: usize,
}

/// Tells stories, and returns the exit code.
pub(crate) fn scenarios(args: &ScenariosArgs) -> anyhow::Result<u8> {
    let in_world = |world| args.world.is_none_or(|only| only == world);
    let options = RunOptions { without_oracle: args.without_oracle, ..RunOptions::default() };
    let without: Vec<_> = args.without_oracle.into_iter().collect();
    let (mut worst, mut last, mut all) = (0, None, 0);
    let (mut cluster, mut pure) = (Count::default(), Count::default());
    let (mut untold, mut plans) = (0, 0);
    for path in crate::find::find(&args.names)? {
        let story = crate::find::read(&path)?;
        all += 1;
        let mut took = vec![];
        let mut failed = false;
        if in_world(World::Pure) {
            let start = Instant::now();
            let came = tell(&story, &without);
            let ms = start.elapsed().as_millis();
            match came {
                Pure::Untold => untold += 1,
                Pure::Plan => plans += 1,
                _ => pure.told += 1,
            }
            match came {
                Pure::Clean => {
                    pure.clean += 1;
                    took.push(format!("pure {ms:>4} ms"));
                }
                Pure::Untold | Pure::Plan => took.push("pure      --".into()),
                Pure::Failed(telling) => {
                    failed = true;
                    worst = worst.max(code(&telling));
                    println!("FAILED {} in the pure world", story.name);
                    println!("{}", what_failed(&story, &telling)?);
                }
                Pure::Wrong(why) => {
                    failed = true;
                    worst = worst.max(crate::HARNESS);
                    println!("FAILED {}: {why}", story.name);
                }
            }
        }
        if in_world(World::Cluster) {
            let start = Instant::now();
            let outcome = run(&story, 0, &options);
            let ms = start.elapsed().as_millis();
            cluster.told += 1;
            if matches!(outcome.verdict, Verdict::Clean) {
                cluster.clean += 1;
                took.push(format!("cluster {ms:>4} ms"));
            } else {
                failed = true;
                println!("FAILED {}", story.name);
                worst = worst.max(outcome.verdict.code());
                last = Some((path, outcome));
            }
        }
        if !failed {
            let guards: Vec<_> = story.guards.iter().map(|guarantee| guarantee.as_str()).collect();
            println!("ok     {:<8} guards {:<12} {}", story.name, guards.join(" "), took.join("  "));
        }
    }
    println!("{}", summary(all, &cluster, &pure, (untold, plans)));
    if let Some((path, outcome)) = last {
        crate::again::report(&path, &outcome, 0);
    }
    Ok(worst)
}

fn summary(all: usize, cluster: &Count, pure: &Count, (untold, plans): (usize, usize)) -> String {
    let mut parts = vec![];
    if cluster.told > 0 {
        parts.push(format!("cluster {} of {}", cluster.clean, cluster.told));
    }
    if pure.told + untold + plans > 0 {
        parts.push(format!("pure world {} of {}", pure.clean, pure.told));
    }
    if untold > 0 {
        parts.push(format!("{untold} say why it cannot tell them"));
    }
    if plans > 0 {
        parts.push(format!("{plans} are plans, which it does not tell"));
    }
    format!("stories     {all}: {}", parts.join(", "))
}

fn tell(story: &Story, without: &[Guarantee]) -> Pure {
    let is_plan = !story.sentences.is_empty() && story.sentences.iter().all(|sentence| sentence.at.is_some());
    let told = crate::pure::silently(|| tell_story(story, without, false));
    match (told, story.untold.get(&StoryWorld::Pure)) {
        (Err(_), None) if is_plan => Pure::Plan,
        (Err(_), Some(_)) => Pure::Untold,
        (Err(Untold { line, why }), None) => Pure::Wrong(format!(
            "line {line}: the pure world cannot tell it ({why}): say so by `not in the pure world \"…\"`"
        )),
        (Ok(_), Some(_)) => {
            Pure::Wrong("it says that the pure world cannot tell it, which can: take that away".into())
        }
        (Ok(telling), None) if telling.is_clean() => Pure::Clean,
        (Ok(telling), None) => Pure::Failed(Box::new(telling)),
    }
}

fn code(telling: &Telling) -> u8 {
    match (crate::pure::code(&telling.verdict), &telling.missed) {
        (0, Some(missed)) if missed.guarantee.is_liveness() => 2,
        (0, _) => crate::BROKEN,
        (code, _) => code,
    }
}

/// Keeps what was chosen as a file, and says how to replay it.
fn what_failed(story: &Story, telling: &Telling) -> anyhow::Result<String> {
    let file = PathBuf::from("target").join(format!("{}.world", story.name));
    std::fs::create_dir_all("target").context("creating target")?;
    std::fs::write(&file, telling.recording.to_string())
        .with_context(|| format!("writing {}", file.display()))?;
    let missed = telling.missed.as_ref().map(|missed| format!("{missed}\n")).unwrap_or_default();
    let judged = match &telling.verdict {
        mainstem_world::Verdict::Clean => String::new(),
        verdict => format!("{verdict}\n"),
    };
    Ok(format!("{missed}{judged}cargo sim replay {} --trace", file.display()))
}
