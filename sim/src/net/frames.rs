//! Short descriptions of writes, for traces: the relay's HTTP/2 frames (RFC 9113) and the messages in them, with the
//! numbers of the follows that they are of. Data that does not begin with a whole frame is described by its length.

use std::fmt;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER: usize = 9;
const DATA: u8 = 0;
/// gRPC's prefix of a message: a flag and the length.
const PREFIX: usize = 5;
/// Frames of one write, and asks and tells of one frame, that are described.
const DESCRIBED_MAX: usize = 3;

pub(super) struct Frames<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether the dialing side wrote it: a follower sends requests, a worker sends responses.
    pub(super) asks: bool,
}

impl fmt::Display for Frames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.bytes;
        let mut described = 0;
        if let Some(after) = rest.strip_prefix(PREFACE) {
            f.write_str("hello")?;
            (rest, described) = (after, 1);
        }
        while let Some((kind, payload, after)) = frame(rest) {
            if described == DESCRIBED_MAX {
                return f.write_str(", …");
            }
            if described > 0 {
                f.write_str(", ")?;
            }
            match name(kind) {
                Some(name) => f.write_str(name)?,
                None => self.message(payload, f)?,
            }
            (rest, described) = (after, described + 1);
        }
        if described == 0 { write!(f, "{} bytes", self.bytes.len()) } else { Ok(()) }
    }
}

/// The first frame: its type, its payload, and the remaining bytes.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
    let kind = header[3];
    if kind != DATA && name(kind).is_none() {
        return None;
    }
    let (payload, rest) = rest.split_at(length.min(rest.len()));
    Some((kind, payload, rest))
}

fn name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        1 => "headers",
        2 => "priority",
        3 => "reset",
        4 => "settings",
        6 => "ping",
        7 => "goaway",
        8 => "window",
        9 => "more headers",
        _ => return None,
    })
}

impl Frames<'_> {
    fn message(&self, payload: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = payload.len();
        if payload.is_empty() {
            return f.write_str("end of data");
        }
        let many = payload.get(PREFIX..).map(Fields).into_iter().flatten();
        let mut described = 0;
        for one in many {
            let (1, Value::Bytes(one)) = one else { break };
            let mut fields = Fields(one);
            let (Some((1, Value::Number(follow))), Some(kind)) = (fields.next(), fields.next()) else {
                break;
            };
            match described {
                0 => {}
                DESCRIBED_MAX => return f.write_str("; …"),
                _ => f.write_str("; ")?,
            }
            write!(f, "#{follow} ")?;
            match self.asks {
                true => f.write_str(ask(kind))?,
                false => tell(kind, f)?,
            }
            described += 1;
        }
        if described == 0 { write!(f, "data of {bytes} bytes") } else { Ok(()) }
    }
}

fn ask((kind, _): (u64, Value<'_>)) -> &'static str {
    match kind {
        2 => "follow",
        3 => "leave",
        4 => "taken",
        _ => "?",
    }
}

fn tell((kind, said): (u64, Value<'_>), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let frame = match (kind, said) {
        (2, _) => return f.write_str("accepted"),
        (3, Value::Bytes(frame)) => Fields(frame).next(),
        (4, _) => return f.write_str("ended"),
        _ => None,
    };
    match frame {
        Some((1, Value::Bytes(opened))) => write!(f, "opened {}", Episode(opened)),
        Some((2, Value::Bytes(parts))) => {
            let first = Fields(parts).find_map(|field| match field {
                (2, Value::Number(first)) => Some(first),
                _ => None,
            });
            let count = Fields(parts).filter(|(field, _)| *field == 3).count() as u64;
            match first {
                Some(first) if count > 1 => write!(f, "parts {first}..{}", first + count - 1)?,
                Some(first) => write!(f, "part {first}")?,
                None => f.write_str("parts")?,
            }
            write!(f, " of {}", Episode(parts))
        }
        Some((3, Value::Bytes(closed))) => write!(f, "closed {}", Episode(closed)),
        _ => f.write_str("?"),
    }
}

/// The episode in the first field of one of the relay's messages.
struct Episode<'a>(&'a [u8]);

impl fmt::Display for Episode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((1, Value::Bytes(episode))) = Fields(self.0).next() else { return f.write_str("?") };
        let number = |wanted| {
            let found = Fields(episode).find(|(field, _)| *field == wanted);
            if let Some((_, Value::Number(number))) = found { number } else { 0 }
        };
        write!(f, "{}.{}", number(1), number(2))
    }
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message, up to the first malformed one.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.varint()?;
        match tag & 7 {
            0 => Some((tag >> 3, Value::Number(self.varint()?))),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Some((tag >> 3, Value::Bytes(bytes)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Frames, PREFACE};

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, u8::try_from(payload.len()).expect("short"), kind, 0, 0, 0, 0, 1];
        bytes.extend_from_slice(payload);
        bytes
    }

    fn described(bytes: &[u8], asks: bool) -> String {
        Frames { bytes, asks }.to_string()
    }

    /// A message of these asks or tells, each of a follow.
    fn message(of: &[(u8, &[u8])]) -> Vec<u8> {
        let one = |(follow, kind): &(u8, &[u8])| {
            let one = [&[8, *follow], *kind].concat();
            [&[0x0a, one.len() as u8], &*one].concat()
        };
        let all: Vec<u8> = of.iter().flat_map(one).collect();
        frame(0, &[&[0, 0, 0, 0, all.len() as u8], &*all].concat())
    }

    #[test]
    fn a_write_of_the_relay_is_told_by_what_it_carries() {
        let parts = &[0x1a, 14, 0x12, 12, 0x0a, 4, 8, 2, 16, 1, 0x10, 3, 0x1a, 0, 0x1a, 0];
        let closed = &[0x1a, 6, 0x1a, 4, 0x0a, 2, 8, 2];
        let opened = &[0x1a, 6, 0x0a, 4, 0x0a, 2, 8, 2];
        assert_eq!(described(&message(&[(7, parts)]), false), "#7 parts 3..4 of 2.1");
        let told = message(&[(1, &[0x12, 0]), (1, opened), (2, closed), (3, parts)]);
        assert_eq!(described(&told, false), "#1 accepted; #1 opened 2.0; #2 closed 2.0; …");
        assert_eq!(described(&message(&[(3, &[0x22, 2, 8, 1])]), false), "#3 ended");
        let asks = message(&[(1, &[0x12, 0]), (1, &[0x1a, 0]), (2, &[0x20, 9])]);
        assert_eq!(described(&asks, true), "#1 follow; #1 leave; #2 taken");
        assert_eq!(
            described(&[frame(1, b"x"), asks].concat(), true),
            "headers, #1 follow; #1 leave; #2 taken"
        );
        assert_eq!(described(&[PREFACE, &frame(4, b"")].concat(), true), "hello, settings");
    }

    #[test]
    fn what_makes_no_sense_is_told_by_its_length() {
        assert_eq!(described(b"{\"Alive\":null}\n", false), "15 bytes");
        assert_eq!(described(&frame(0, &[0, 0, 0, 0, 9, 0xff]), false), "data of 6 bytes");
        assert_eq!(described(b"", false), "0 bytes");
    }
}
