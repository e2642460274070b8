//! Synthetic sessions: who types, downloads, polls, talks or only watches.

use super::*;

/// Gaps of a person's keys, ms: log-normal around 180 ms, with pauses to think.
const TYPED: [i64; 40] = [
    182, 131, 244, 97, 165, 309, 148, 203, 118, 427, 176, 88, 221, 1630, 154, 192, 268, 109, 139, 351, 171,
    74, 233, 160, 2240, 126, 187, 562, 143, 211, 102, 286, 168, 198, 377, 121, 1150, 153, 256, 179,
];
/// Bytes of what a shell or a desktop sends back.
const SCREEN: [u32; 7] = [36, 36, 52, 36, 140, 36, 420];

type Packet = (i64, Dir, u32);

/// Keys for `seconds` from 1 s on, each answered after about 45 ms.
fn terminal(operator: Dir, seconds: i64) -> Vec<Packet> {
    let mut packets = vec![(0, operator, 1500), (30, operator.reverse(), 1500)];
    let mut at = 1000;
    for (i, gap) in TYPED.iter().cycle().enumerate() {
        at += gap;
        if at > seconds * 1000 {
            break;
        }
        packets.push((at, operator, 36));
        packets.push((at + 41 + i64::try_from(i % 5).unwrap() * 2, operator.reverse(), SCREEN[i % 7]));
    }
    packets
}

/// The same with key-up events and several screen updates.
fn desktop(operator: Dir, seconds: i64) -> Vec<Packet> {
    let mut packets = terminal(operator, seconds);
    for (i, (at, dir, _)) in packets.clone().into_iter().enumerate() {
        if dir == operator && at > 0 {
            packets.push((at + 52 + i64::try_from(i % 7).unwrap() * 11, operator, 36));
        }
    }
    packets
}

fn repeated(every: i64, seconds: i64, packet: impl Fn(i64) -> Vec<Packet>) -> Vec<Packet> {
    (0..seconds * 1000 / every).flat_map(packet).collect()
}

/// Everything in the order of time; the judgement and when it was reached, s.
fn run(shape: &mut Shape, mut packets: Vec<Packet>) -> Option<(i64, Judgement)> {
    packets.sort_by_key(|(at, ..)| *at);
    let mut reached = None;
    for (at, dir, len) in packets {
        if let Some(judgement) = shape.on_packet(dir, len, 1_700_000_000_000_000_000 + at * 1_000_000) {
            assert!(reached.replace((at / 1000, judgement)).is_none(), "told twice");
        }
    }
    reached
}

/// Neither judged nor leaned to, with its end seen.
fn assert_nothing(what: &str, packets: Vec<Packet>) {
    let mut shape = Shape::default();
    assert_eq!(run(&mut shape, packets), None, "{what}");
    assert_eq!(shape.on_end(), None, "{what}");
    assert_eq!(shape.leaning(), None, "{what}");
}

#[test]
fn a_typed_terminal_is_judged_after_two_windows_and_the_called_side_is_operated() {
    let mut shape = Shape::default();
    let (at, judgement) = run(&mut shape, terminal(Dir::ToServer, 75)).unwrap();
    assert!((63..66).contains(&at), "judged after {at} s");
    assert_eq!((judgement.operated, judgement.kind), (Side::Dest, Kind::Terminal));
    assert_eq!((judgement.windows, judgement.against), (2, 0));
    assert!((180..220).contains(&judgement.inputs), "{judgement:?}");
    assert!(
        judgement.inputs - judgement.spontaneous < judgement.inputs / 4,
        "keys answer nothing: {judgement:?}"
    );
    assert!(judgement.answered_percent >= 95 && judgement.chance_percent < 40, "{judgement:?}");
    assert_eq!(judgement.answer_ms, 40);
    assert!((55_000_000_000..=66_000_000_000).contains(&(judgement.span_ns.1 - judgement.span_ns.0)));
    assert_eq!(shape.judgement(), Some(judgement));
}

#[test]
fn a_machine_that_opened_the_flow_and_is_typed_at_through_it_is_the_operated_one() {
    let judgement = run(&mut Shape::default(), terminal(Dir::ToClient, 75)).unwrap().1;
    assert_eq!((judgement.operated, judgement.kind), (Side::Src, Kind::Terminal));
}

#[test]
fn key_up_events_make_it_a_desktop() {
    let judgement = run(&mut Shape::default(), desktop(Dir::ToServer, 75)).unwrap().1;
    assert_eq!((judgement.operated, judgement.kind), (Side::Dest, Kind::Gui));
}

#[test]
fn a_session_that_goes_on_gathers_windows_and_is_told_once() {
    let mut shape = Shape::default();
    let first = run(&mut shape, terminal(Dir::ToServer, 200)).unwrap().1;
    let later = shape.judgement().unwrap();
    assert_eq!((first.windows, later.windows), (2, 6));
    assert!(later.inputs > 2 * first.inputs);
    assert_eq!(later.span_ns.0, first.span_ns.0);
}

#[test]
fn one_window_is_a_leaning_and_the_end_of_the_flow_can_make_it_a_judgement() {
    let mut short = Shape::default();
    assert_eq!(run(&mut short, terminal(Dir::ToServer, 40)), None);
    assert_eq!(short.leaning().map(|leaning| (leaning.operated, leaning.windows)), Some((Side::Dest, 1)));
    assert_eq!(short.on_end(), None, "7 s are no window");
    assert_eq!(short.judgement(), None);

    let mut longer = Shape::default();
    assert_eq!(run(&mut longer, terminal(Dir::ToServer, 55)), None);
    assert_eq!(longer.on_end().map(|judgement| judgement.windows), Some(2));
    assert_eq!(longer.on_end(), None, "told once");
}

#[test]
fn windows_that_disagree_on_the_side_make_no_judgement() {
    let mut shape = Shape::default();
    let mut packets: Vec<Packet> =
        terminal(Dir::ToServer, 75).into_iter().filter(|(at, ..)| *at < 33_000).collect();
    packets.extend(terminal(Dir::ToClient, 60).into_iter().filter(|(at, ..)| *at > 37_000));
    assert_eq!(run(&mut shape, packets), None);
}

#[test]
fn a_download_is_nothing() {
    // A request a second or so, each answered by full packets and acknowledged on the application's level.
    assert_nothing(
        "download",
        repeated(20, 100, |i| {
            let mut packets = vec![(i * 20, Dir::ToClient, 1448), (i * 20 + 1, Dir::ToClient, 1448)];
            if i % 50 == 0 {
                packets.push((i * 20 + 3, Dir::ToServer, 220));
            }
            packets
        }),
    );
}

#[test]
fn polling_is_nothing_even_with_jitter_and_answers_of_any_size() {
    for every in [200, 500, 1000] {
        assert_nothing(
            "polling",
            repeated(every, 100, |i| {
                let at = i * every + (i * 7) % 13;
                let size = SCREEN[usize::try_from(i % 7).unwrap()];
                vec![(at, Dir::ToServer, 60), (at + 30, Dir::ToClient, size)]
            }),
        );
    }
}

#[test]
fn a_call_is_nothing() {
    assert_nothing(
        "call",
        repeated(20, 100, |i| {
            let size = 80 + u32::try_from((i * 37) % 90).unwrap();
            vec![(i * 20, Dir::ToServer, size), (i * 20 + 9 + i % 3, Dir::ToClient, size + 7)]
        }),
    );
}

#[test]
fn a_watcher_whose_requests_are_all_alike_is_not_operated() {
    // The screen has the rhythm of a typist elsewhere; only that nothing comes back but requests tells it from inputs.
    let packets: Vec<Packet> = terminal(Dir::ToClient, 100)
        .into_iter()
        .map(|(at, dir, len)| (at, dir, if dir == Dir::ToServer && len < 1000 { 10 } else { len }))
        .collect();
    assert_nothing("watcher", packets);
}

#[test]
fn keys_that_the_other_side_never_follows_more_than_by_chance_and_never_pause_are_nothing() {
    let packets: Vec<Packet> = terminal(Dir::ToServer, 100)
        .into_iter()
        .filter(|(_, dir, _)| *dir == Dir::ToServer)
        .chain(repeated(10, 100, |i| vec![(i * 10, Dir::ToClient, 100 + u32::try_from(i % 60).unwrap())]))
        .collect();
    assert_nothing("constant stream beside keys", packets);
}

/// Keys with these gaps, ms, each followed 40 ms later by the screen.
fn typed_with(gaps: &[i64]) -> Vec<Packet> {
    let mut at = 0;
    let keys = gaps.iter().cycle().enumerate().map_while(|(i, gap)| {
        at += gap;
        let screen = (at + 40, Dir::ToClient, SCREEN[i % 7]);
        (at < 100_000).then_some([(at, Dir::ToServer, 36), screen])
    });
    keys.flatten().collect()
}

#[test]
fn what_is_typed_has_a_persons_pace_and_sizes() {
    assert!(run(&mut Shape::default(), typed_with(&TYPED)).is_some(), "the one that the others differ from");
    let rolled = [20, 1500, 20, 4000, 20, 1100, 20, 2500, 20, 1800];
    assert_nothing("pairs of keys more than a second apart", typed_with(&rolled));
    let sized = |size: fn(u32) -> u32| {
        let resize =
            |(i, (at, dir, len)): (u32, Packet)| (at, dir, if dir == Dir::ToServer { size(i) } else { len });
        (0..).zip(typed_with(&TYPED)).map(resize).collect::<Vec<_>>()
    };
    assert_nothing("inputs of 400 bytes", sized(|_| 400));
    assert_nothing("inputs of any size", sized(|i| 20 + i * 37 % 211));
}

#[test]
fn of_answers_and_pauses_one_may_be_missing_but_not_both() {
    let unrelated = |gaps: Vec<i64>| {
        let mut keys = typed_with(&gaps);
        keys.retain(|(_, dir, _)| *dir == Dir::ToServer);
        let mut at = 0;
        let screen = TYPED.iter().rev().cycle().enumerate().map_while(|(i, gap)| {
            at += gap * 17 / 10;
            let full = if i % 5 == 0 { 1400 } else { 90 };
            (at < 100_000).then_some((at, Dir::ToClient, full))
        });
        keys.extend(screen);
        keys
    };
    let operated =
        run(&mut Shape::default(), unrelated(TYPED.to_vec())).map(|(_, judgement)| judgement.operated);
    assert_eq!(operated, Some(Side::Dest), "with pauses");
    let hurried = TYPED.into_iter().filter(|gap| *gap < 1000).chain([25, 700, 33, 800]).collect();
    assert_nothing("without pauses", unrelated(hurried));
}

#[test]
fn requests_that_answer_each_frame_are_not_inputs() {
    // Someone types at the machine itself; the watcher asks for more after each frame and gets it at once.
    let mut packets = Vec::new();
    for (at, dir, len) in typed_with(&TYPED) {
        if dir == Dir::ToClient {
            let frame = if len > 100 { 900 } else { len };
            packets.extend([(at, dir, frame), (at + 20, Dir::ToServer, 10), (at + 60, dir, len + 5)]);
        }
    }
    assert_nothing("watcher", packets);
}

#[test]
fn silence_of_days_is_not_walked_through_and_not_counted() {
    let mut shape = Shape::default();
    let day = 86_400_000;
    let mut packets: Vec<Packet> = terminal(Dir::ToServer, 32);
    packets.push((300 * day, Dir::ToServer, 36));
    packets.extend(terminal(Dir::ToServer, 40).into_iter().map(|(at, dir, len)| (at + 300 * day, dir, len)));
    let judgement = run(&mut shape, packets).map(|(_, judgement)| judgement.windows);
    assert_eq!(judgement, Some(2), "typing before and after");
}

#[test]
fn impossible_times_and_sizes_are_survived() {
    let mut shape = Shape::default();
    for (i, at) in [0, i64::MAX, i64::MIN, -1, 1, i64::MAX, 0].into_iter().cycle().take(5000).enumerate() {
        let dir = if i % 3 == 0 { Dir::ToServer } else { Dir::ToClient };
        shape.on_packet(dir, if i % 2 == 0 { u32::MAX } else { 0 }, at);
    }
    let mut shape = Shape::default();
    for i in 0..200_000_i64 {
        let at = i64::MIN + i * 9_000_000 + (i % 50) * 100_000_000_000_000;
        shape.on_packet(if i % 2 == 0 { Dir::ToServer } else { Dir::ToClient }, u32::MAX, at);
    }
    assert_eq!(shape.on_end(), None);
}

#[test]
fn the_state_stays_small() {
    assert!(size_of::<Shape>() <= 1280, "{} bytes", size_of::<Shape>());
}
