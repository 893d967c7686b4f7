//! Numbers of scripts: from text, and to text as C's `%g` writes them.

/// Significant digits where a number becomes text in a script.
pub(super) const DIGITS_IN_TEXT: usize = 14;
/// Significant digits where a number is an argument of a command.
pub(super) const DIGITS_IN_ARGUMENT: usize = 17;

/// Longest text that is a number, in bytes: whoever sends more digits wants to keep somebody busy.
const TEXT_BYTES_MAX: usize = 512;

/// The number that a text is, blanks around it apart.
pub(super) fn parse(text: &[u8]) -> Option<f64> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let number = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        if !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        u64::from_str_radix(hex, 16).ok()? as f64
    } else {
        // Words like "inf" are numbers to the parser and none to a script.
        if !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
            return None;
        }
        if digits.starts_with(['+', '-']) {
            return None;
        }
        digits.parse().ok()?
    };
    Some(if negative { -number } else { number })
}

/// The shortest of fixed and exponential notation with so many significant digits, without zeros at the end.
pub(super) fn text(number: f64, digits: usize) -> String {
    if number.is_nan() {
        return if number.is_sign_negative() { "-nan".into() } else { "nan".into() };
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let precision = i32::try_from(digits).unwrap_or(i32::MAX);
    if (-4..precision).contains(&exponent) {
        let decimals = usize::try_from(precision - 1 - exponent).unwrap_or_default();
        return without_zeros(&format!("{number:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.unsigned_abs())
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::{parse, text};

    #[test]
    fn numbers_become_text_as_in_c() {
        let texts = [
            (30000.0, "30000"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "1.2345678901234e+14"),
            (12_345_678_901_234.0, "12345678901234"),
            (1e-5, "1e-05"),
            (0.0, "0"),
        ];
        for (number, expected) in texts {
            assert_eq!(text(number, 14), expected);
        }
        assert_eq!(text(1e15, 17), "1000000000000000");
        assert_eq!(text(f64::INFINITY, 14), "inf");
    }

    #[test]
    fn text_becomes_a_number_only_where_all_of_it_is_one() {
        assert_eq!(parse(b" 12 "), Some(12.0));
        assert_eq!(parse(b"-0x10"), Some(-16.0));
        assert_eq!(parse(b"1e3"), Some(1000.0));
        for no in [&b""[..], b"x", b"1x", b"inf", b"nan", b"--1", b"0x", b"1 2", b"\xff"] {
            assert_eq!(parse(no), None, "{no:?}");
        }
        assert_eq!(parse(&[b'0'; 513]), None);
    }
}
