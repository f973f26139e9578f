//! Tapes on a real disk, within their bounds.

use std::path::PathBuf;

use super::*;

/// A directory of its own, which ends with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("mainstem-tapes-{}", uuid::Uuid::now_v7())))
    }

    /// What there is, by name.
    fn tapes(&self) -> Vec<Vec<u8>> {
        let files = std::fs::read_dir(&self.0).expect("a directory");
        let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        paths.retain(|path| path.extension().is_some());
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).expect("a tape")).collect()
    }

    fn bytes(&self) -> usize {
        self.tapes().iter().map(Vec::len).sum()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tape(first: &[u8]) -> NewTape {
    NewTape { name: "hub-x".into(), first: first.into(), if_lost: b"lost".into() }
}

fn flushed(tapes: &DiskTapes) {
    tapes.flush(Duration::from_secs(60));
}

const MAX: u64 = 8_000;

#[test]
fn what_was_taken_is_on_disk_in_order_and_tapes_do_not_mix() {
    let scratch = Scratch::new();
    let tapes = DiskTapes::open(&scratch.0, MAX).expect("a directory");
    let (mut one, mut other) = (tapes.begin(tape(b"1:")), tapes.begin(tape(b"2:")));
    for n in 0..9u8 {
        assert!(one.append(vec![b'a' + n]).is_ok() && other.append(vec![b'A' + n]).is_ok());
    }
    one.end(b".".into());
    flushed(&tapes);
    assert_eq!(scratch.tapes(), [b"1:abcdefghi.".to_vec(), b"2:ABCDEFGHI".to_vec()]);
}

#[test]
fn no_tape_has_more_than_its_share() {
    let scratch = Scratch::new();
    let tapes = DiskTapes::open(&scratch.0, MAX).expect("a directory");
    let mut writer = tapes.begin(tape(b"first"));
    let taken = (0..).take_while(|_| writer.append(vec![b'x'; 100]).is_ok()).count();
    assert_eq!(writer.append(vec![b'x'; 100]), Err(TapeFull::Tape));
    writer.end(b"full".into());
    flushed(&tapes);
    assert_eq!((taken, scratch.bytes()), (9, 5 + 900 + 4), "B1");
}

#[test]
fn the_oldest_that_have_ended_make_room_also_those_of_an_earlier_process() {
    let scratch = Scratch::new();
    for process in 0..3 {
        let tapes = loop {
            // The thread of the one before has the lock until it has ended.
            match DiskTapes::open(&scratch.0, MAX) {
                Ok(tapes) => break tapes,
                Err(_) => std::thread::yield_now(),
            }
        };
        for n in 0..20 {
            let first = format!("{process}.{n:02}");
            let mut writer = tapes.begin(tape(first.as_bytes()));
            writer.append(vec![b'x'; 490]).expect("it fits");
            writer.end(b"end".into());
            flushed(&tapes);
            assert!(scratch.bytes() as u64 <= MAX, "B1: {} bytes", scratch.bytes());
        }
    }
    let kept = scratch.tapes();
    let firsts: Vec<_> = kept.iter().map(|tape| String::from_utf8_lossy(&tape[..4]).into_owned()).collect();
    assert_eq!(firsts, (4..20).map(|n| format!("2.{n:02}")).collect::<Vec<_>>());
}

#[test]
fn a_tape_that_finds_no_room_beside_living_ones_says_that_it_was_lost() {
    let scratch = Scratch::new();
    let tapes = DiskTapes::open(&scratch.0, MAX).expect("a directory");
    let mut writers: Vec<_> = (0..9).map(|_| tapes.begin(tape(b"first"))).collect();
    flushed(&tapes);
    for writer in &mut writers {
        writer.append(vec![b'x'; 950]).expect("within its share");
        flushed(&tapes);
    }
    assert_eq!(writers[8].append(vec![b'y']), Err(TapeFull::Lost));
    assert!(writers[0].append(vec![b'y']).is_ok());
    flushed(&tapes);
    assert_eq!((scratch.tapes()[8].as_slice(), scratch.tapes().len()), (&b"firstlost"[..], 9));
    // It makes room for another, which still has not enough to begin.
    let mut another = tapes.begin(tape(&[b'z'; 500]));
    flushed(&tapes);
    assert_eq!(another.append(vec![b'z']), Err(TapeFull::Lost));
    for writer in writers {
        writer.end(b"end".into());
    }
    flushed(&tapes);
    assert!(scratch.bytes() as u64 <= MAX, "B1: {} bytes", scratch.bytes());
    let kept = scratch.tapes();
    assert!(kept[0].ends_with(b"xyend") && kept[7].ends_with(b"xend") && kept.len() == 8);
}

#[test]
fn frames_that_come_too_fast_are_refused_and_nobody_waits() {
    let queue = Arc::new(Queue::default());
    let writer = |bytes_left| Writer {
        queue: queue.clone(),
        id: 1,
        bytes_left,
        is_begun: true,
        is_lost: Arc::default(),
    };
    let mut writer = Box::new(writer(u64::MAX));
    // Nobody writes.
    let refused = (0..10_000).map(|_| writer.append(vec![0; 1000])).find(Result::is_err);
    assert_eq!(refused, Some(Err(TapeFull::Behind)));
    assert!(queue.lock().bytes <= WAITING_BYTES_MAX && queue.lock().bytes > WAITING_BYTES_MAX / 2, "B1");
    let waiting = queue.lock().pieces.len();
    writer.end(b"end".into());
    assert_eq!(queue.lock().pieces.len(), waiting + 1, "the last frame is always taken");
}

#[test]
fn a_directory_is_one_processes() {
    let scratch = Scratch::new();
    let _tapes = DiskTapes::open(&scratch.0, MAX).expect("a directory");
    let refused = DiskTapes::open(&scratch.0, MAX).expect_err("it is taken").to_string();
    assert!(refused.contains("directory of its own"), "{refused}");
}
