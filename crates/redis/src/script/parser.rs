//! From tokens to the tree: statements. Depth is bounded, and every name is resolved.

mod expression;
mod names;

use names::Names;

use super::{
    ast::{Block, Expression, ExpressionKind, Function, Place, Statement, StatementKind, Target, Walk},
    token::{Misunderstood, Token, tokens},
};

/// How deep blocks and expressions may be inside each other.
const NESTING_MAX: u32 = 40;

/// Understands a script: it is the body of a function without parameters.
pub(super) fn parse(body: &[u8]) -> Result<Function, Misunderstood> {
    let mut parser = Parser { tokens: tokens(body)?, at: 0, nesting: 0, names: Names::default() };
    parser.names.begin_function();
    let body = parser.block()?;
    parser.expect_end()?;
    let (slots, captures) = parser.names.end_function();
    Ok(Function { parameters: 0, slots, captures, body })
}

struct Parser {
    tokens: Vec<(Token, u32)>,
    at: usize,
    nesting: u32,
    names: Names,
}

impl Parser {
    fn token(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |(_, line)| *line)
    }

    fn next(&mut self) -> Token {
        let token = self.token().clone();
        self.at += 1;
        token
    }

    fn is(&self, fixed: &str) -> bool {
        matches!(self.token(), Token::Fixed(found) if *found == fixed)
    }

    fn takes(&mut self, fixed: &str) -> bool {
        let found = self.is(fixed);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, fixed: &str) -> Result<(), Misunderstood> {
        if self.takes(fixed) { Ok(()) } else { self.misunderstood(format!("{} where '{fixed}' belongs", self.shown())) }
    }

    fn expect_end(&self) -> Result<(), Misunderstood> {
        if *self.token() == Token::End { Ok(()) } else { self.misunderstood(self.shown()) }
    }

    fn misunderstood<T>(&self, what: impl Into<String>) -> Result<T, Misunderstood> {
        Err(Misunderstood { line: self.line(), what: what.into() })
    }

    /// The token that is next, for messages.
    fn shown(&self) -> String {
        match self.token() {
            Token::Fixed(fixed) => format!("'{fixed}'"),
            Token::Name(name) => format!("'{}'", crate::text::shown(name.as_bytes())),
            Token::Text(text) => format!("the string '{}'", crate::text::shown(text)),
            Token::Number(number) => format!("the number {number}"),
            Token::End => "the end".into(),
        }
    }

    fn name(&mut self) -> Result<String, Misunderstood> {
        match self.token() {
            Token::Name(_) => match self.next() {
                Token::Name(name) => Ok(name),
                _ => self.misunderstood("a name"),
            },
            Token::Fixed("...") => self.misunderstood("'...': functions with any number of parameters"),
            _ => self.misunderstood(format!("{} where a name belongs", self.shown())),
        }
    }

    /// Runs a part of the parser one level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Misunderstood>) -> Result<T, Misunderstood> {
        if self.nesting == NESTING_MAX {
            return self.misunderstood(format!("more than {NESTING_MAX} levels inside each other"));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    /// Statements up to a word that ends a block, in a scope of their own.
    fn block(&mut self) -> Result<Block, Misunderstood> {
        let scope = self.names.begin_scope();
        let block = self.nested(Self::statements);
        self.names.end_scope(scope);
        block
    }

    fn statements(&mut self) -> Result<Block, Misunderstood> {
        let mut statements = Vec::new();
        while !self.at_block_end() {
            if self.takes(";") {
                continue;
            }
            let line = self.line();
            let kind = self.statement()?;
            let is_last = matches!(kind, StatementKind::Return(_));
            statements.push(Statement { line, kind });
            if is_last {
                self.takes(";");
                if !self.at_block_end() {
                    return self.misunderstood(format!("{} behind 'return'", self.shown()));
                }
            }
        }
        Ok(Block { statements })
    }

    fn at_block_end(&self) -> bool {
        matches!(self.token(), Token::End | Token::Fixed("end" | "else" | "elseif" | "until"))
    }

    fn statement(&mut self) -> Result<StatementKind, Misunderstood> {
        let Token::Fixed(word) = *self.token() else { return self.assignment_or_call() };
        match word {
            "local" | "if" | "while" | "for" | "do" | "return" | "break" => self.at += 1,
            "repeat" => return self.misunderstood("'repeat'"),
            "function" => return self.misunderstood("'function': a function that is not local"),
            _ => return self.assignment_or_call(),
        }
        match word {
            "local" if self.takes("function") => self.local_function(),
            "local" => self.local(),
            "if" => self.condition(),
            "while" => {
                let condition = self.expression()?;
                self.expect("do")?;
                Ok(StatementKind::While { condition, body: self.block_with_end()? })
            }
            "for" => self.loop_over(),
            "do" => self.block_with_end().map(StatementKind::Do),
            "return" if self.at_block_end() || self.is(";") => Ok(StatementKind::Return(Vec::new())),
            "return" => self.expressions().map(StatementKind::Return),
            _ => Ok(StatementKind::Break),
        }
    }

    fn block_with_end(&mut self) -> Result<Block, Misunderstood> {
        let block = self.block()?;
        self.expect("end")?;
        Ok(block)
    }

    fn local_function(&mut self) -> Result<StatementKind, Misunderstood> {
        let name = self.name()?;
        // It is declared before its body, so that it can call itself.
        let slot = self.declare(name)?;
        let function = self.function_body()?;
        Ok(StatementKind::LocalFunction { slot, function })
    }

    fn local(&mut self) -> Result<StatementKind, Misunderstood> {
        let mut names = vec![self.name()?];
        while self.takes(",") {
            names.push(self.name()?);
        }
        let values = if self.takes("=") { self.expressions()? } else { Vec::new() };
        // The names are not there yet in the values.
        let slots = names.into_iter().map(|name| self.declare(name)).collect::<Result<_, _>>()?;
        Ok(StatementKind::Local { slots, values })
    }

    fn declare(&mut self, name: String) -> Result<usize, Misunderstood> {
        self.names.declare(name).or_else(|what| self.misunderstood(what))
    }

    fn condition(&mut self) -> Result<StatementKind, Misunderstood> {
        let mut arms = Vec::new();
        loop {
            let condition = self.expression()?;
            self.expect("then")?;
            arms.push((condition, self.block()?));
            if !self.takes("elseif") {
                break;
            }
        }
        let otherwise = if self.takes("else") { self.block()? } else { Block::default() };
        self.expect("end")?;
        Ok(StatementKind::If { arms, otherwise })
    }

    fn loop_over(&mut self) -> Result<StatementKind, Misunderstood> {
        let mut names = vec![self.name()?];
        if self.takes("=") {
            let from = self.expression()?;
            self.expect(",")?;
            let to = self.expression()?;
            let step = if self.takes(",") { Some(self.expression()?) } else { None };
            let (slots, body) = self.loop_body(names)?;
            let slot = slots.first().copied().unwrap_or_default();
            return Ok(StatementKind::Count { slot, from, to, step, body });
        }
        while self.takes(",") {
            names.push(self.name()?);
        }
        self.expect("in")?;
        let walk = match self.token() {
            Token::Name(name) if name == "ipairs" && self.names.find(name).is_none() => Walk::List,
            Token::Name(name) if name == "pairs" && self.names.find(name).is_none() => Walk::All,
            _ => return self.misunderstood(format!("{} where 'ipairs' or 'pairs' belongs", self.shown())),
        };
        self.at += 1;
        self.expect("(")?;
        let over = self.expression()?;
        self.expect(")")?;
        let (slots, body) = self.loop_body(names)?;
        Ok(StatementKind::Each { slots, over, walk, body })
    }

    fn loop_body(&mut self, names: Vec<String>) -> Result<(Vec<usize>, Block), Misunderstood> {
        self.expect("do")?;
        let scope = self.names.begin_scope();
        let slots = names.into_iter().map(|name| self.declare(name)).collect::<Result<_, _>>()?;
        let body = self.block_with_end()?;
        self.names.end_scope(scope);
        Ok((slots, body))
    }

    fn assignment_or_call(&mut self) -> Result<StatementKind, Misunderstood> {
        let first = self.assigned_or_called()?;
        if !self.is("=") && !self.is(",") {
            return match first.kind {
                ExpressionKind::Call(..) => Ok(StatementKind::Call(first)),
                _ => self.misunderstood(format!("{} behind an expression that is no statement", self.shown())),
            };
        }
        let mut targets = vec![self.target(first)?];
        while self.takes(",") {
            let next = self.assigned_or_called()?;
            targets.push(self.target(next)?);
        }
        self.expect("=")?;
        Ok(StatementKind::Assign { targets, values: self.expressions()? })
    }

    fn assigned_or_called(&mut self) -> Result<Expression, Misunderstood> {
        if let Token::Name(name) = self.token()
            && self.names.find(name).is_none()
            && matches!(self.tokens.get(self.at + 1), Some((Token::Fixed("=" | ","), _)))
        {
            return self.misunderstood(format!("{}: a variable that is not local", self.shown()));
        }
        self.suffixed()
    }

    fn target(&self, expression: Expression) -> Result<Target, Misunderstood> {
        match expression.kind {
            ExpressionKind::Variable(place) => Ok(Target::Variable(place)),
            ExpressionKind::Index(table, key) => Ok(Target::Field(*table, *key)),
            _ => self.misunderstood("an assignment to what is no variable and no field"),
        }
    }

    fn variable(&mut self, name: &str) -> Option<Place> {
        self.names.resolve(name)
    }
}
