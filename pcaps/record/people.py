"""People: accounts, what they type, and how their hands move.

In: a seeded random generator. Out: timed input events. The timing model: log-normal gaps between keys inside a word,
shorter when the hands alternate, pauses before words and lines, slips that are corrected, keys held 60–130 ms so that the
next key often goes down before the last one is up; pointer paths with the bell-shaped speed of a human reach.
"""

import dataclasses
import math
import subprocess

FIRST_NAMES = [
    "Anna",
    "Marek",
    "Priya",
    "Daniel",
    "Lucia",
    "Tom",
    "Ingrid",
    "Samuel",
    "Mei",
    "Oscar",
    "Helen",
    "Victor",
]
LAST_NAMES = [
    "Kowalski",
    "Berg",
    "Sharma",
    "Whitman",
    "Ortega",
    "Larsen",
    "Fischer",
    "Osei",
    "Tan",
    "Novak",
    "Price",
    "Dahl",
]
LEFT_HAND = set("qwertasdfgzxcvb12345")
SHIFTED = dict(zip('~!@#$%^&*()_+{}|:"<>?', "`1234567890-=[]\\;',./"))
KEYSYMS = {
    " ": "space",
    "\n": "Return",
    "\b": "BackSpace",
    "\t": "Tab",
    "-": "minus",
    "/": "slash",
    ".": "period",
    ",": "comma",
    ";": "semicolon",
    "'": "apostrophe",
    "=": "equal",
    "[": "bracketleft",
    "]": "bracketright",
    "\\": "backslash",
    "`": "grave",
}
POINTER_HZ = 60
WORDS = [
    "invoice",
    "orders",
    "payments",
    "ledger",
    "shipping",
    "catalog",
    "refund",
    "billing",
    "inventory",
    "pricing",
    "customer",
    "export",
]
SUBJECTS, ENDS = ["We", "I", "They", "Support"], ["noon", "Friday", "the release", "the review"]
VERBS = ["fix", "add", "check", "rename", "retry", "validate", "log", "drop", "merge", "cache"]


@dataclasses.dataclass
class Account:
    """A user of a node."""

    user: str
    full_name: str
    password: str

    def password_hash(self):
        """SHA-512 crypt of the password."""
        return subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"], input=self.password, text=True, stdout=subprocess.PIPE, check=True
        ).stdout.strip()


def draw_account(rng):
    """Somebody with a name."""
    first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
    password = rng.choice(WORDS).capitalize() + str(rng.randrange(100, 999)) + rng.choice("!#%")
    return Account((first[0] + last).lower(), f"{first} {last}", password)


@dataclasses.dataclass
class InputEvent:
    """At `at` seconds from the start: a key or button goes down or up, or the pointer is at x, y."""

    at: float
    action: str  # key_down | key_up | pointer | button_down | button_up
    value: object
    character: str = ""


def shell_lines(rng, count):
    """Things a programmer types at a shell on a server; none prints more than a screen."""
    a, b = rng.choice(WORDS), rng.choice(WORDS)
    ticket = rng.randrange(1200, 9800)
    stock = [
        "ls -la",
        "pwd",
        "date",
        "uptime",
        "whoami",
        "df -h .",
        "free -m",
        "ls -l src",
        "history | tail -n 5",
        f"cat src/{a}.py",
        f"head -n 20 src/{b}.py",
        f"grep -n def src/{a}.py",
        "grep -rn TODO src",
        "wc -l src/*.py",
        f"tail -n 8 logs/{a}.log",
        f"echo 'ticket {ticket}: {rng.choice(VERBS)} {a} rows' >> notes.txt",
        "cat notes.txt",
        "tail -n 3 notes.txt",
        f"cp src/{a}.py src/{a}_old.py",
        f"diff src/{a}.py src/{a}_old.py",
        f"rm src/{a}_old.py",
        "for f in src/*.py; do echo $f; done",
        f"sed -n '1,12p' src/{b}.py",
        "du -sh logs",
        "env | grep PATH",
        f"python3 -c 'print({rng.randrange(3, 90)}*{rng.randrange(3, 90)})'",
        f"find . -name '{a}*'",
        f"sort logs/{b}.log | uniq -c | head -n 6",
        f"echo {rng.choice(VERBS)} the {b} {a} check in build {ticket}",
    ]
    return [rng.choice(stock) for _ in range(count)]


def prose_lines(rng, count):
    """Sentences of a status report."""
    return [
        f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} the {rng.choice(WORDS)} {rng.choice(WORDS)} before {rng.choice(ENDS)}."
        for _ in range(count)
    ]


class Person:
    """Hands with a habit: `words_per_minute`, how even the gaps are, how often a slip happens."""

    def __init__(self, rng, words_per_minute=None, mouse=0.3):
        self.rng = rng
        self.words_per_minute = words_per_minute or rng.uniform(34, 66)
        self.evenness = rng.uniform(0.3, 0.46)
        self.slip = rng.uniform(0.01, 0.03)
        self.hold = rng.uniform(0.068, 0.115)
        self.mouse = mouse
        self._pointer = (400.0, 300.0)
        self._shift_up = 0.0

    def _gap(self, previous, character):
        gap = self.rng.lognormvariate(0, self.evenness) * 60 / (self.words_per_minute * 5)
        if previous == " ":
            gap += abs(self.rng.gauss(0, 0.13))
        if previous and character != " " and (previous in LEFT_HAND) != (character in LEFT_HAND):
            gap *= 0.86
        if previous == character:
            gap *= 0.8
        if self.rng.random() < 0.018:
            gap += self.rng.uniform(0.4, 1.3)
        return max(0.04, gap)

    def _key(self, at, character):
        """(events, time the key goes down): later than `at` when Shift must be released or pressed first."""
        base = SHIFTED.get(character, character.lower())
        shift = base != character
        hold = max(0.04, self.rng.gauss(self.hold, 0.018))
        lead = self.rng.uniform(0.05, 0.09) if shift else 0.0
        at = max(at, self._shift_up + lead + 0.015)
        keysym = KEYSYMS.get(base, base)
        events = [InputEvent(at, "key_down", keysym, character), InputEvent(at + hold, "key_up", keysym)]
        if shift:
            self._shift_up = at + hold + 0.012
            events += [InputEvent(at - lead, "key_down", "Shift_L"), InputEvent(self._shift_up, "key_up", "Shift_L")]
        return events, at

    def line(self, start, text):
        """(events, end) for one line of text and the Return after it."""
        at, previous, events = start, "", []
        for character in text:
            at += self._gap(previous, character)
            if character.isalpha() and self.rng.random() < self.slip:
                new, at = self._key(at, self.rng.choice("asdfghjkl"))
                events += new
                new, at = self._key(at + self.rng.uniform(0.2, 0.5), "\b")
                events += new
                at += self.rng.uniform(0.16, 0.34)
            new, at = self._key(at, character)
            events += new
            previous = character
        new, at = self._key(at + self.rng.uniform(0.2, 0.8), "\n")
        return events + new, at

    def reach(self, start, size, click=False):
        """(events, end) for one pointer movement with a minimum-jerk profile, 60 events a second."""
        x0, y0 = self._pointer
        x1, y1 = self.rng.uniform(60, size[0] - 120), self.rng.uniform(60, size[1] - 120)
        distance = math.hypot(x1 - x0, y1 - y0)
        duration = 0.12 + 0.13 * math.log2(1 + distance / 40) * self.rng.uniform(0.85, 1.25)
        bow = self.rng.uniform(-0.09, 0.09) * distance
        steps = max(4, int(duration * POINTER_HZ))
        events = []
        for i in range(1, steps + 1):
            s = i / steps
            eased = s**3 * (10 - 15 * s + 6 * s * s)
            side = bow * math.sin(math.pi * eased)
            across = (-(y1 - y0) / (distance or 1), (x1 - x0) / (distance or 1))
            events.append(
                InputEvent(
                    start + s * duration,
                    "pointer",
                    (
                        round(x0 + (x1 - x0) * eased + across[0] * side),
                        round(y0 + (y1 - y0) * eased + across[1] * side),
                    ),
                )
            )
        self._pointer = (x1, y1)
        end = start + duration
        if click:
            end += self.rng.uniform(0.08, 0.25)
            events += [InputEvent(end, "button_down", 1), InputEvent(end + 0.09, "button_up", 1)]
            end += 0.1
        return events, end

    def work(self, seconds, lines, size=(1024, 768)):
        """Events of somebody who types lines, thinks between them and now and then moves the mouse, in time order."""
        at, events, self._shift_up = self.rng.uniform(0.5, 1.4), [], 0.0
        for line in lines:
            new, at = self.line(at, line)
            if at > seconds:
                break
            events += new
            pause = self.rng.uniform(0.9, 4.2) if self.rng.random() < 0.82 else self.rng.uniform(4, 9)
            if pause > 1.6 and self.rng.random() < self.mouse:
                moved, end = self.reach(at + self.rng.uniform(0.4, 0.8), size)
                events += moved
                pause = max(pause, end - at + 0.4)
            at += pause
        return sorted(events, key=lambda e: e.at)

    def type_only(self, seconds, lines):
        """Like `work` without the mouse."""
        mouse, self.mouse = self.mouse, 0.0
        try:
            return self.work(seconds, lines)
        finally:
            self.mouse = mouse
