//! Writing JSON in Go's form, without an intermediate tree.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// The compact form.
///
/// # Panics
/// When `value` cannot be JSON at all: a map whose keys are not text, or a
/// `Serialize` of its own that fails. No type of Consul's vocabulary is such.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    encode_into(&mut out, value);
    out
}

/// Appends the compact form to `out`. Panics as [`encode`].
pub fn encode_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    write(out, value, GoFormatter::new(false, false));
}

/// The form of `?pretty`: four spaces for each level, no newline at the end.
/// Panics as [`encode`].
pub fn encode_pretty<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write(&mut out, value, GoFormatter::new(true, false));
    out
}

/// As [`encode`], or [`encode_pretty`] if `pretty`, but an empty list inside of another
/// list is `null`: how Go shows rows as they are stored, whose lists were never made.
/// Panics as [`encode`].
pub fn encode_stored<T: Serialize + ?Sized>(value: &T, pretty: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write(&mut out, value, GoFormatter::new(pretty, true));
    out
}

fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T, formatter: GoFormatter) {
    value
        .serialize(&mut Serializer::with_formatter(out, formatter))
        .expect("a vocabulary struct has text keys and a Serialize that cannot fail");
}

struct GoFormatter {
    indent: Option<Indent>,
    null_lists: Option<NullLists>,
}

/// What it takes to write empty lists inside of lists as `null`.
#[derive(Default)]
struct NullLists {
    /// How many lists are open.
    open: usize,
    /// Whether the innermost of them has not been written yet, as it may be empty.
    pending: bool,
}

struct Indent {
    depth: usize,
    /// Whether the innermost array or object has a member.
    filled: bool,
}

impl GoFormatter {
    fn new(pretty: bool, null_lists: bool) -> Self {
        Self {
            indent: pretty.then_some(Indent { depth: 0, filled: false }),
            null_lists: null_lists.then(NullLists::default),
        }
    }

    fn open<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        if let Some(indent) = &mut self.indent {
            indent.depth += 1;
            indent.filled = false;
        }
        out.write_all(bracket)
    }

    fn close<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        if let Some(indent) = &mut self.indent {
            indent.depth -= 1;
            if indent.filled {
                new_line(out, indent.depth)?;
            }
            // What was closed is itself a member of what is around it.
            indent.filled = true;
        }
        out.write_all(bracket)
    }

    fn member<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if !first {
            out.write_all(b",")?;
        }
        match &mut self.indent {
            Some(indent) => {
                indent.filled = true;
                new_line(out, indent.depth)
            }
            None => Ok(()),
        }
    }
}

fn new_line<W: ?Sized + Write>(out: &mut W, depth: usize) -> io::Result<()> {
    out.write_all(b"\n")?;
    (0..depth).try_for_each(|_| out.write_all(b"    "))
}

impl Formatter for GoFormatter {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        if let Some(lists) = &mut self.null_lists {
            lists.open += 1;
            if lists.open > 1 {
                lists.pending = true;
                return Ok(());
            }
        }
        self.open(out, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        if let Some(lists) = &mut self.null_lists {
            lists.open -= 1;
            if std::mem::take(&mut lists.pending) {
                return out.write_all(b"null");
            }
        }
        self.close(out, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if self.null_lists.as_mut().is_some_and(|lists| std::mem::take(&mut lists.pending)) {
            self.open(out, b"[")?;
        }
        self.member(out, first)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.member(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(if self.indent.is_some() { b": " } else { b":" })
    }

    /// Text without quotes, backslashes and control characters: what is left to
    /// escape is what Go escapes for the sake of HTML and JavaScript.
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let bytes = fragment.as_bytes();
        let mut done = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let (escape, len): (&[u8], usize) = match byte {
                b'<' => (b"\\u003c", 1),
                b'>' => (b"\\u003e", 1),
                b'&' => (b"\\u0026", 1),
                0xe2 if bytes[at..].starts_with(b"\xe2\x80\xa8") => (b"\\u2028", 3),
                0xe2 if bytes[at..].starts_with(b"\xe2\x80\xa9") => (b"\\u2029", 3),
                _ => continue,
            };
            out.write_all(&bytes[done..at])?;
            out.write_all(escape)?;
            done = at + len;
        }
        out.write_all(&bytes[done..])
    }

    fn write_f32<W: ?Sized + Write>(&mut self, out: &mut W, value: f32) -> io::Result<()> {
        // The exponent is only used where Go uses it, for the magnitude of the
        // 32-bit value.
        if value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
            write!(out, "{value}")
        } else {
            write_exponent(out, &format!("{value:e}"))
        }
    }

    fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        if value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
            write!(out, "{value}")
        } else {
            write_exponent(out, &format!("{value:e}"))
        }
    }
}

/// `1e21` as Go writes it, `1e+21`; negative exponents are alike in both.
fn write_exponent<W: ?Sized + Write>(out: &mut W, text: &str) -> io::Result<()> {
    match text.split_once('e') {
        Some((mantissa, exponent)) if !exponent.starts_with('-') => {
            write!(out, "{mantissa}e+{exponent}")
        }
        _ => out.write_all(text.as_bytes()),
    }
}
