//! A JSON Schema validator for the keywords that our schema uses; any other keyword is an error, so that nothing in the schema
//! is silently without effect.
//!
//! Keywords and their meaning: JSON Schema 2020-12, Core and Validation. `pattern` is matched by a small engine of its own:
//! anchors, literals, `.`, classes, groups with `|`, and the repetitions `?`, `*`, `+`, `{n}`, `{n,}`, `{n,m}`.

use serde_json::{Map, Value};

/// Keywords that say something to people only.
const TOLD: [&str; 6] = ["$schema", "$id", "$defs", "title", "description", "$comment"];

/// Everything that is wrong with `value`, each with the path to it; empty if it is valid.
pub fn errors(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, schema, value, "", &mut found);
    found
}

fn check(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let schema = match schema {
        Value::Bool(true) => return,
        Value::Bool(false) => return found.push(format!("{path}: nothing is allowed here")),
        Value::Object(map) => map,
        other => panic!("no schema: {other}"),
    };
    for (keyword, rule) in schema {
        match keyword.as_str() {
            "$ref" => check(root, target(root, rule), value, path, found),
            "type" => types(rule, value, path, found),
            "const" if value != rule => found.push(format!("{path}: {value} is not {rule}")),
            "enum" if !list(rule).contains(value) => found.push(format!("{path}: {value} is none of {rule}")),
            "properties" => properties(root, map(rule), value, path, found),
            "required" => required(rule, value, path, found),
            "additionalProperties" => additional(root, schema, rule, value, path, found),
            "propertyNames" => {
                for name in value.as_object().into_iter().flat_map(Map::keys) {
                    check(root, rule, &Value::from(name.as_str()), &format!("{path}/{name} (name)"), found);
                }
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, item, &format!("{path}/{i}"), found);
                }
            }
            "minItems" | "maxItems" | "uniqueItems" => items(keyword, rule, value, path, found),
            "minimum" | "maximum" | "exclusiveMaximum" => bounds(keyword, rule, value, path, found),
            "minLength" | "maxLength" => length(keyword, rule, value, path, found),
            "pattern" => {
                let pattern = rule.as_str().expect("a pattern is text");
                if value.as_str().is_some_and(|text| !matches(pattern, text)) {
                    found.push(format!("{path}: {value} does not match {pattern}"));
                }
            }
            "allOf" => list(rule).iter().for_each(|s| check(root, s, value, path, found)),
            "anyOf" | "oneOf" => branches(root, keyword, rule, value, path, found),
            "not" if valid(root, rule, value) => found.push(format!("{path}: {value} must not be {rule}")),
            "if" => {
                let branch = if valid(root, rule, value) { "then" } else { "else" };
                if let Some(s) = schema.get(branch) {
                    check(root, s, value, path, found);
                }
            }
            "const" | "enum" | "not" | "then" | "else" => {}
            told if TOLD.contains(&told) => {}
            other => panic!("the schema uses the keyword '{other}', which this validator does not know"),
        }
    }
}

fn valid(root: &Value, schema: &Value, value: &Value) -> bool {
    let mut found = Vec::new();
    check(root, schema, value, "", &mut found);
    found.is_empty()
}

fn target<'a>(root: &'a Value, reference: &Value) -> &'a Value {
    let text = reference.as_str().expect("a reference is text");
    let pointer =
        text.strip_prefix('#').unwrap_or_else(|| panic!("{text}: only references into the same file"));
    root.pointer(pointer).unwrap_or_else(|| panic!("{text}: leads nowhere"))
}

fn list(v: &Value) -> &[Value] {
    v.as_array().unwrap_or_else(|| panic!("no list: {v}"))
}

fn map(v: &Value) -> &Map<String, Value> {
    v.as_object().unwrap_or_else(|| panic!("no object: {v}"))
}

fn types(rule: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("no type: {other}"),
    };
    let fits = match rule {
        Value::String(name) => is(name),
        names => list(names).iter().any(|n| is(n.as_str().expect("a type is text"))),
    };
    if !fits {
        found.push(format!("{path}: {value} is not of type {rule}"));
    }
}

fn properties(root: &Value, rules: &Map<String, Value>, value: &Value, path: &str, found: &mut Vec<String>) {
    for (name, rule) in rules {
        if let Some(inner) = value.get(name) {
            check(root, rule, inner, &format!("{path}/{name}"), found);
        }
    }
}

fn required(rule: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let Some(object) = value.as_object() else { return };
    for name in list(rule) {
        let name = name.as_str().expect("a name is text");
        if !object.contains_key(name) {
            found.push(format!("{path}: '{name}' is missing"));
        }
    }
}

fn additional(
    root: &Value,
    schema: &Map<String, Value>,
    rule: &Value,
    value: &Value,
    path: &str,
    found: &mut Vec<String>,
) {
    let known = schema.get("properties").and_then(Value::as_object);
    for (name, inner) in value.as_object().into_iter().flatten() {
        if known.is_none_or(|k| !k.contains_key(name)) {
            if *rule == Value::Bool(false) {
                found.push(format!("{path}: '{name}' is not in the schema"));
            } else {
                check(root, rule, inner, &format!("{path}/{name}"), found);
            }
        }
    }
}

fn items(keyword: &str, rule: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let Some(array) = value.as_array() else { return };
    let n = rule.as_u64().unwrap_or(1);
    let bad = match keyword {
        "minItems" => (array.len() as u64) < n,
        "maxItems" => array.len() as u64 > n,
        _ => array.iter().enumerate().any(|(i, a)| array[..i].contains(a)),
    };
    if bad {
        found.push(format!("{path}: {keyword} {rule} does not hold for {value}"));
    }
}

fn bounds(keyword: &str, rule: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let (Some(bound), Some(n)) = (rule.as_f64(), value.as_f64()) else { return };
    let fits = match keyword {
        "minimum" => n >= bound,
        "maximum" => n <= bound,
        _ => n < bound,
    };
    if !fits {
        found.push(format!("{path}: {value} breaks {keyword} {rule}"));
    }
}

fn length(keyword: &str, rule: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let (Some(bound), Some(text)) = (rule.as_u64(), value.as_str()) else { return };
    let n = text.chars().count() as u64;
    if (keyword == "minLength" && n < bound) || (keyword == "maxLength" && n > bound) {
        found.push(format!("{path}: {value} breaks {keyword} {rule}"));
    }
}

fn branches(root: &Value, keyword: &str, rule: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let fits = list(rule).iter().filter(|s| valid(root, s, value)).count();
    if fits == 0 || keyword == "oneOf" && fits > 1 {
        found.push(format!("{path}: {value} fits {fits} branches of {keyword}"));
        if fits == 0 && list(rule).len() == 1 {
            check(root, &list(rule)[0], value, path, found);
        }
    }
}

/// Whether `pattern` (anchored at both ends, as all of ours are) matches `text`.
pub fn matches(pattern: &str, text: &str) -> bool {
    let inner = pattern
        .strip_prefix('^')
        .and_then(|p| p.strip_suffix('$'))
        .unwrap_or_else(|| panic!("{pattern}: patterns are anchored at both ends here"));
    let pattern: Vec<char> = inner.chars().collect();
    let (node, end) = alternatives(&pattern, 0);
    assert_eq!(end, pattern.len(), "{inner}: an unmatched parenthesis");
    let text: Vec<char> = text.chars().collect();
    step(&node, &text, 0, &mut |at| at == text.len())
}

enum Node {
    Any,
    Class { chars: Vec<(char, char)>, negated: bool },
    Sequence(Vec<Self>),
    Either(Vec<Self>),
    Repeat { node: Box<Self>, min: usize, max: usize },
}

fn alternatives(p: &[char], mut at: usize) -> (Node, usize) {
    let mut branches = Vec::new();
    let mut sequence = Vec::new();
    while at < p.len() && p[at] != ')' {
        if p[at] == '|' {
            branches.push(Node::Sequence(std::mem::take(&mut sequence)));
            at += 1;
            continue;
        }
        let (node, next) = atom(p, at);
        let (node, next) = repeated(node, p, next);
        sequence.push(node);
        at = next;
    }
    branches.push(Node::Sequence(sequence));
    (Node::Either(branches), at)
}

fn atom(p: &[char], at: usize) -> (Node, usize) {
    let one = |c: char| Node::Class { chars: vec![(c, c)], negated: false };
    match p[at] {
        '(' => {
            let (node, end) = alternatives(p, at + 1);
            assert_eq!(p.get(end), Some(&')'), "a parenthesis is not closed");
            (node, end + 1)
        }
        '[' => class(p, at + 1),
        '.' => (Node::Any, at + 1),
        '\\' => (one(p[at + 1]), at + 2),
        c => (one(c), at + 1),
    }
}

fn class(p: &[char], mut at: usize) -> (Node, usize) {
    let negated = p[at] == '^';
    at += usize::from(negated);
    let mut chars = Vec::new();
    while p[at] != ']' {
        at += usize::from(p[at] == '\\');
        if p[at + 1] == '-' && p[at + 2] != ']' {
            chars.push((p[at], p[at + 2]));
            at += 3;
        } else {
            chars.push((p[at], p[at]));
            at += 1;
        }
    }
    (Node::Class { chars, negated }, at + 1)
}

fn repeated(node: Node, p: &[char], at: usize) -> (Node, usize) {
    let (min, max, next) = match p.get(at) {
        Some('?') => (0, 1, at + 1),
        Some('*') => (0, usize::MAX, at + 1),
        Some('+') => (1, usize::MAX, at + 1),
        Some('{') => {
            let end = at + p[at..].iter().position(|c| *c == '}').expect("a closed repetition");
            let text: String = p[at + 1..end].iter().collect();
            let number = |t: &str| t.parse().unwrap_or_else(|_| panic!("{{{text}}}: no repetition"));
            let (min, max) = match text.split_once(',') {
                None => (number(&text), number(&text)),
                Some((min, "")) => (number(min), usize::MAX),
                Some((min, max)) => (number(min), number(max)),
            };
            (min, max, end + 1)
        }
        _ => return (node, at),
    };
    (Node::Repeat { node: Box::new(node), min, max }, next)
}

fn step(node: &Node, text: &[char], at: usize, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
    match node {
        Node::Any => at < text.len() && go_on(at + 1),
        Node::Class { chars, negated } => {
            text.get(at).is_some_and(|c| chars.iter().any(|(a, b)| (a..=b).contains(&c)) != *negated)
                && go_on(at + 1)
        }
        Node::Sequence(nodes) => match nodes.split_first() {
            None => go_on(at),
            Some((first, rest)) => step(first, text, at, &mut |at| sequence(rest, text, at, go_on)),
        },
        Node::Either(nodes) => nodes.iter().any(|n| step(n, text, at, go_on)),
        Node::Repeat { node, min, max } => repeat(node, *min, *max, text, at, go_on),
    }
}

fn sequence(nodes: &[Node], text: &[char], at: usize, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
    match nodes.split_first() {
        None => go_on(at),
        Some((first, rest)) => step(first, text, at, &mut |at| sequence(rest, text, at, go_on)),
    }
}

fn repeat(
    node: &Node,
    min: usize,
    max: usize,
    text: &[char],
    at: usize,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> bool {
    let more = max > 0
        && step(node, text, at, &mut |next| {
            next > at && repeat(node, min.saturating_sub(1), max.saturating_sub(1), text, next, go_on)
        });
    more || min == 0 && go_on(at)
}

#[test]
fn patterns_match_whole_texts_only() {
    assert!(matches("^[0-9]{4}-(0[1-9]|1[0-2])$", "2026-11"));
    assert!(!matches("^[0-9]{4}-(0[1-9]|1[0-2])$", "2026-13"));
    assert!(matches("^1:[A-Za-z0-9+/]{27}=$", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="));
    assert!(!matches("^[a-z]+$", "abc1") && !matches("^[a-z]+$", "") && matches("^a?b*$", ""));
    assert!(matches("^[^\\]]{2,3}\\.x$", "ab.x") && !matches("^[^\\]]{2,3}\\.x$", "a.x"));
}

#[test]
fn what_the_schema_does_not_allow_is_found_and_named() {
    let schema = serde_json::json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"type": "integer", "maximum": 9}, "b": {"type": ["string", "null"]}},
        "if": {"properties": {"b": {"const": "x"}}, "required": ["b"]}, "then": {"properties": {"a": {"const": 1}}},
    });
    let found = |v: Value| errors(&schema, &v);
    assert!(found(serde_json::json!({"a": 9, "b": null})).is_empty());
    assert_eq!(found(serde_json::json!({"b": 1, "c": 0})).len(), 3);
    assert_eq!(found(serde_json::json!({"a": 10})), ["/a: 10 breaks maximum 9"]);
    assert_eq!(found(serde_json::json!({"a": 2, "b": "x"})), ["/a: 2 is not 1"]);
}
