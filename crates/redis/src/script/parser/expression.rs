//! Expressions.

use std::sync::Arc;

use super::{NESTING_MAX, Parser};
use crate::{
    command::Spec,
    script::{
        ast::{Binary, Builtin, Expression, ExpressionKind, Function, Unary},
        token::{Misunderstood, Token},
    },
    text::shown,
};

/// How strongly unary operators bind.
const UNARY_BINDING: u8 = 8;

/// An operator between two expressions.
enum Between {
    And,
    Or,
    Other(Binary),
}

/// The operator, and how strongly it binds to the left and to the right.
fn between(sign: &str) -> Option<(Between, u8, u8)> {
    let other = |operator, left, right| Some((Between::Other(operator), left, right));
    match sign {
        "or" => Some((Between::Or, 1, 1)),
        "and" => Some((Between::And, 2, 2)),
        "==" => other(Binary::Equal, 3, 3),
        "~=" => other(Binary::Unequal, 3, 3),
        "<" => other(Binary::Less, 3, 3),
        "<=" => other(Binary::LessOrEqual, 3, 3),
        ">" => other(Binary::Greater, 3, 3),
        ">=" => other(Binary::GreaterOrEqual, 3, 3),
        ".." => other(Binary::Concatenate, 5, 4),
        "+" => other(Binary::Add, 6, 6),
        "-" => other(Binary::Subtract, 6, 6),
        "*" => other(Binary::Multiply, 7, 7),
        "/" => other(Binary::Divide, 7, 7),
        "%" => other(Binary::Modulo, 7, 7),
        "^" => other(Binary::Power, 10, 9),
        _ => None,
    }
}

impl Parser {
    pub(super) fn expression(&mut self) -> Result<Expression, Misunderstood> {
        self.operators(0)
    }

    /// One or several, with commas between them.
    pub(super) fn expressions(&mut self) -> Result<Vec<Expression>, Misunderstood> {
        let mut expressions = vec![self.expression()?];
        while self.takes(",") {
            expressions.push(self.expression()?);
        }
        Ok(expressions)
    }

    /// A node of the tree, unless the tree below it is too deep.
    fn node(&self, line: u32, kind: ExpressionKind) -> Result<Expression, Misunderstood> {
        let below = kind.children().into_iter().map(|child| child.depth).max().unwrap_or_default();
        if below >= NESTING_MAX {
            return self.misunderstood(format!("an expression of more than {NESTING_MAX} levels"));
        }
        Ok(Expression { line, depth: below + 1, kind })
    }

    /// An expression of operators that bind more strongly than `binding`.
    fn operators(&mut self, binding: u8) -> Result<Expression, Misunderstood> {
        self.nested(|parser| {
            let mut left = parser.unary()?;
            while let Token::Fixed(sign) = *parser.token()
                && let Some((operator, to_left, to_right)) = between(sign)
                && to_left > binding
            {
                let line = parser.line();
                parser.at += 1;
                let right = Box::new(parser.operators(to_right)?);
                let left_side = Box::new(left);
                left = parser.node(
                    line,
                    match operator {
                        Between::And => ExpressionKind::And(left_side, right),
                        Between::Or => ExpressionKind::Or(left_side, right),
                        Between::Other(operator) => ExpressionKind::Binary(operator, left_side, right),
                    },
                )?;
            }
            Ok(left)
        })
    }

    fn unary(&mut self) -> Result<Expression, Misunderstood> {
        let line = self.line();
        let operator = match self.token() {
            Token::Fixed("not") => Unary::Not,
            Token::Fixed("-") => Unary::Minus,
            Token::Fixed("#") => Unary::Length,
            _ => return self.simple(),
        };
        self.at += 1;
        let operand = Box::new(self.operators(UNARY_BINDING)?);
        self.node(line, ExpressionKind::Unary(operator, operand))
    }

    fn simple(&mut self) -> Result<Expression, Misunderstood> {
        let line = self.line();
        let kind = match self.token() {
            Token::Fixed("nil") => ExpressionKind::Nil,
            Token::Fixed("true") => ExpressionKind::Boolean(true),
            Token::Fixed("false") => ExpressionKind::Boolean(false),
            Token::Number(number) => ExpressionKind::Number(*number),
            Token::Text(text) => ExpressionKind::Text(text.clone()),
            Token::Fixed("{") => return self.table(),
            Token::Fixed("function") => {
                self.at += 1;
                let function = self.function_body()?;
                return self.node(line, ExpressionKind::Function(function));
            }
            _ => return self.suffixed(),
        };
        self.at += 1;
        self.node(line, kind)
    }

    /// A variable or a parenthesis, with the fields and calls behind it.
    pub(super) fn suffixed(&mut self) -> Result<Expression, Misunderstood> {
        let mut expression = self.primary()?;
        loop {
            let line = self.line();
            let kind = match self.token() {
                Token::Fixed("(" | "{") | Token::Text(_) => {
                    let arguments = self.arguments()?;
                    self.check_command(&expression, &arguments)?;
                    ExpressionKind::Call(Box::new(expression), arguments)
                }
                Token::Fixed("[") => {
                    self.at += 1;
                    let key = self.expression()?;
                    self.expect("]")?;
                    ExpressionKind::Index(Box::new(expression), Box::new(key))
                }
                Token::Fixed(".") => {
                    self.at += 1;
                    let line = self.line();
                    let name = self.name()?;
                    let key = self.node(line, ExpressionKind::Text(name.into()))?;
                    ExpressionKind::Index(Box::new(expression), Box::new(key))
                }
                Token::Fixed(":") => return self.misunderstood("':': calls of methods"),
                _ => return Ok(expression),
            };
            expression = self.node(line, kind)?;
        }
    }

    fn primary(&mut self) -> Result<Expression, Misunderstood> {
        let line = self.line();
        if self.takes("(") {
            let inside = self.expression()?;
            self.expect(")")?;
            return self.node(line, ExpressionKind::One(Box::new(inside)));
        }
        let Token::Name(name) = self.token() else { return self.misunderstood(self.shown()) };
        let name = name.clone();
        let kind = if let Some(place) = self.variable(&name) {
            self.at += 1;
            ExpressionKind::Variable(place)
        } else {
            self.global(&name)?
        };
        self.node(line, kind)
    }

    /// One of the few names that every script knows.
    fn global(&mut self, name: &str) -> Result<ExpressionKind, Misunderstood> {
        let kind = match name {
            "KEYS" => ExpressionKind::Keys,
            "ARGV" => ExpressionKind::Argv,
            "redis" | "string" | "table" | "math" => {
                if !matches!(self.tokens.get(self.at + 1), Some((Token::Fixed("."), _))) {
                    return self.misunderstood(format!("'{name}' without one of its functions behind a '.'"));
                }
                self.at += 2;
                let function = self.name()?;
                let found = Builtin::find(Some(name), &function);
                self.at -= 1;
                match found {
                    Some(builtin) => ExpressionKind::Builtin(builtin),
                    None => return self.misunderstood(format!("'{name}.{}'", shown(function.as_bytes()))),
                }
            }
            _ => match Builtin::find(None, name) {
                Some(builtin) => ExpressionKind::Builtin(builtin),
                None => return self.misunderstood(format!("'{}'", shown(name.as_bytes()))),
            },
        };
        self.at += 1;
        Ok(kind)
    }

    fn arguments(&mut self) -> Result<Vec<Expression>, Misunderstood> {
        let line = self.line();
        if let Token::Text(text) = self.token() {
            let text = text.clone();
            self.at += 1;
            return Ok(vec![self.node(line, ExpressionKind::Text(text))?]);
        }
        if self.is("{") {
            return Ok(vec![self.table()?]);
        }
        self.expect("(")?;
        if self.takes(")") {
            return Ok(Vec::new());
        }
        let arguments = self.expressions()?;
        self.expect(")")?;
        Ok(arguments)
    }

    /// Refuses a call of a command that is named right there and is none that scripts can call.
    fn check_command(&self, function: &Expression, arguments: &[Expression]) -> Result<(), Misunderstood> {
        let calls = matches!(function.kind, ExpressionKind::Builtin(Builtin::Call | Builtin::ProtectedCall));
        match arguments.first().map(|first| &first.kind) {
            Some(ExpressionKind::Text(name)) if calls && !Spec::find(name).is_some_and(Spec::has_keys) => {
                self.misunderstood(format!("the command '{}', which a script cannot call here", shown(name)))
            }
            _ => Ok(()),
        }
    }

    fn table(&mut self) -> Result<Expression, Misunderstood> {
        let line = self.line();
        self.expect("{")?;
        let (mut list, mut fields) = (Vec::new(), Vec::new());
        while !self.takes("}") {
            let next_is_assigned = matches!(self.tokens.get(self.at + 1), Some((Token::Fixed("="), _)));
            if matches!(self.token(), Token::Name(_)) && next_is_assigned {
                let name_line = self.line();
                let name = self.name()?;
                let key = self.node(name_line, ExpressionKind::Text(name.into()))?;
                self.expect("=")?;
                fields.push((key, self.expression()?));
            } else if self.takes("[") {
                let key = self.expression()?;
                self.expect("]")?;
                self.expect("=")?;
                fields.push((key, self.expression()?));
            } else {
                list.push(self.expression()?);
            }
            if !self.takes(",") && !self.takes(";") && !self.is("}") {
                return self.misunderstood(format!("{} in a table", self.shown()));
            }
        }
        self.node(line, ExpressionKind::Table(list, fields))
    }

    /// Parameters and body of a function, whose name or keyword has been taken.
    pub(super) fn function_body(&mut self) -> Result<Arc<Function>, Misunderstood> {
        self.names.begin_function();
        self.expect("(")?;
        let mut parameters = 0;
        while !self.takes(")") {
            if parameters > 0 {
                self.expect(",")?;
            }
            let name = self.name()?;
            self.declare(name)?;
            parameters += 1;
        }
        let body = self.block_with_end()?;
        let (slots, captures) = self.names.end_function();
        Ok(Arc::new(Function { parameters, slots, captures, body }))
    }
}

impl ExpressionKind {
    /// What is right below it in the tree.
    fn children(&self) -> Vec<&Expression> {
        match self {
            Self::Table(list, fields) => {
                list.iter().chain(fields.iter().flat_map(|(key, value)| [key, value])).collect()
            }
            Self::Call(function, arguments) => std::iter::once(&**function).chain(arguments).collect(),
            Self::One(one) | Self::Unary(_, one) => vec![one],
            Self::Index(left, right)
            | Self::Binary(_, left, right)
            | Self::And(left, right)
            | Self::Or(left, right) => vec![left, right],
            _ => Vec::new(),
        }
    }
}
