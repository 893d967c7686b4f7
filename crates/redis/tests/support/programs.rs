//! Random programs of the subset, out of random bytes.

/// Writes a program, choosing by one byte after the other. When the bytes are at their end, it chooses what is simplest.
struct Programs<'a> {
    bytes: std::slice::Iter<'a, u8>,
    out: String,
    variables: Vec<String>,
    depth: u32,
    named: usize,
}

const DEPTH_MAX: u32 = 4;

/// A program over two keys and two arguments.
pub(crate) fn program(bytes: &[u8]) -> String {
    let mut programs = Programs { bytes: bytes.iter(), out: String::new(), variables: Vec::new(), depth: 0, named: 0 };
    programs.block(6);
    programs.out.push_str("return ");
    programs.expression();
    programs.out
}

impl Programs<'_> {
    fn choose(&mut self, choices: u8) -> u8 {
        self.bytes.next().map_or(0, |byte| byte % choices)
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn new_name(&mut self) -> String {
        self.named += 1;
        format!("v{}", self.named)
    }

    fn block(&mut self, statements: u8) {
        let known = self.variables.len();
        for _ in 0..self.choose(statements) {
            self.statement();
        }
        self.variables.truncate(known);
    }

    fn statement(&mut self) {
        if self.depth == DEPTH_MAX {
            return self.local();
        }
        self.depth += 1;
        match self.choose(9) {
            0 | 1 => self.local(),
            2 | 3 => {
                self.put("if ");
                self.expression();
                self.put(" then ");
                self.block(3);
                if self.choose(2) == 1 {
                    self.put(" else ");
                    self.block(3);
                }
                self.put(" end ");
            }
            4 => {
                let (key, value) = (self.new_name(), self.new_name());
                let over = ["KEYS", "ARGV", "{1, 2, 3}"][usize::from(self.choose(3))];
                self.put(&format!("for {key}, {value} in ipairs({over}) do "));
                let known = self.variables.len();
                self.variables.extend([key, value]);
                self.block(3);
                self.variables.truncate(known);
                self.put(" end ");
            }
            5 => {
                let number = self.new_name();
                self.put(&format!("for {number} = 1, 3 do "));
                self.variables.push(number);
                self.block(3);
                self.variables.pop();
                self.put(" end ");
            }
            6 => {
                self.call();
                self.put(" ");
            }
            7 if !self.variables.is_empty() => {
                let variable = self.variable();
                self.put(&format!("{variable} = "));
                self.expression();
                self.put(" ");
            }
            _ => {
                self.put("if ");
                self.expression();
                self.put(" then return ");
                self.expression();
                self.put(" end ");
            }
        }
        self.depth -= 1;
    }

    fn local(&mut self) {
        let name = self.new_name();
        self.put(&format!("local {name} = "));
        self.expression();
        self.put(" ");
        self.variables.push(name);
    }

    fn variable(&mut self) -> String {
        let count = u8::try_from(self.variables.len()).unwrap_or(u8::MAX);
        let index = self.choose(count.max(1));
        self.variables.get(usize::from(index)).cloned().unwrap_or_else(|| "nil".into())
    }

    fn key(&mut self) {
        let key = ["KEYS[1]", "KEYS[2]"][usize::from(self.choose(2))];
        self.put(key);
    }

    fn call(&mut self) {
        let function = if self.choose(4) == 3 { "redis.pcall" } else { "redis.call" };
        self.put(function);
        match self.choose(12) {
            0 | 1 => {
                self.put("('GET', ");
                self.key();
            }
            2 => {
                self.put("('SET', ");
                self.key();
                self.put(", ARGV[1], 'PX', ARGV[2]");
            }
            3 => {
                self.put("('SET', ");
                self.key();
                self.put(", ARGV[1], 'NX', 'PX', 60000");
            }
            4 => {
                self.put("('DEL', ");
                self.key();
            }
            5 => {
                self.put("('UNLINK', unpack(KEYS)");
            }
            6 => {
                self.put("('EXISTS', ");
                self.key();
            }
            7 => {
                self.put("('PEXPIRE', ");
                self.key();
                self.put(", ");
                self.expression();
            }
            8 => {
                self.put("('MGET', KEYS[2], ");
                self.key();
            }
            9 => {
                self.put("('MSETNX', KEYS[1], ARGV[1], KEYS[2], ARGV[1]");
            }
            10 => {
                self.put("('GETRANGE', ");
                self.key();
                let range = [", 0, -1", ", 0, 0", ", 1, 5"][usize::from(self.choose(3))];
                self.put(range);
            }
            _ => {
                self.put("('STRLEN', ");
                self.key();
            }
        }
        self.put(")");
    }

    fn expression(&mut self) {
        if self.depth == DEPTH_MAX {
            return self.leaf();
        }
        self.depth += 1;
        match self.choose(10) {
            0 | 1 => self.leaf(),
            2 | 3 => self.call(),
            4 | 5 => {
                self.put("(");
                self.expression();
                let operator =
                    [" == ", " ~= ", " and ", " or ", " .. ", " + ", " - ", " * ", " < ", " >= ", " / ", " % "]
                        [usize::from(self.choose(12))];
                self.put(operator);
                self.expression();
                self.put(")");
            }
            6 => {
                let before = ["not ", "- ", "tonumber(", "tostring(", "type(", "string.sub(", "math.floor("];
                let before = before[usize::from(self.choose(7))];
                self.put(before);
                self.expression();
                self.put(if before.contains("sub") {
                    ", 1, 3)"
                } else if before.contains('(') {
                    ")"
                } else {
                    ""
                });
            }
            7 => {
                self.put("{");
                for _ in 0..self.choose(4) {
                    self.expression();
                    self.put(", ");
                }
                self.put("}");
            }
            8 => {
                self.put("#KEYS");
            }
            _ => {
                self.put("(");
                self.expression();
                self.put(" == ARGV[1])");
            }
        }
        self.depth -= 1;
    }

    fn leaf(&mut self) {
        let leaf = match self.choose(11) {
            0 => "ARGV[1]",
            1 => "ARGV[2]",
            2 => "KEYS[1]",
            3 => "nil",
            4 => "false",
            5 => "true",
            6 => "1",
            7 => "30000",
            8 => "'me'",
            9 => "2.5",
            _ => return self.put_variable(),
        };
        self.put(leaf);
    }

    fn put_variable(&mut self) {
        let variable = self.variable();
        self.put(&variable);
    }
}
