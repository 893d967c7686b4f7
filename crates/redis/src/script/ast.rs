//! What a script is once it is understood. Names are resolved already: a variable is a place, a global is one of few that are known.

use std::sync::Arc;

use bytes::Bytes;

/// Statements, one after the other.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) statements: Vec<Statement>,
}

#[derive(Debug)]
pub(super) struct Statement {
    pub(super) line: u32,
    pub(super) kind: StatementKind,
}

#[derive(Debug)]
pub(super) enum StatementKind {
    Local { slots: Vec<usize>, values: Vec<Expression> },
    LocalFunction { slot: usize, function: Arc<Function> },
    Assign { targets: Vec<Target>, values: Vec<Expression> },
    Call(Expression),
    Do(Block),
    While { condition: Expression, body: Block },
    If { arms: Vec<(Expression, Block)>, otherwise: Block },
    Count { slot: usize, from: Expression, to: Expression, step: Option<Expression>, body: Block },
    Each { slots: Vec<usize>, over: Expression, walk: Walk, body: Block },
    Return(Vec<Expression>),
    Break,
}

/// How a table is walked over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    /// `ipairs`: the list, up to the first nil.
    List,
    /// `pairs`: the list, then the rest.
    All,
}

#[derive(Debug)]
pub(super) enum Target {
    Variable(Place),
    Field(Expression, Expression),
}

/// Where a variable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Of the function itself.
    Slot(usize),
    /// Of a function around it.
    Captured(usize),
}

#[derive(Debug)]
pub(super) struct Expression {
    pub(super) line: u32,
    /// How deep the tree below it is, for whoever walks it on the stack.
    pub(super) depth: u32,
    pub(super) kind: ExpressionKind,
}

#[derive(Debug)]
pub(super) enum ExpressionKind {
    Nil,
    Boolean(bool),
    Number(f64),
    Text(Bytes),
    Variable(Place),
    Keys,
    Argv,
    Builtin(Builtin),
    Function(Arc<Function>),
    /// The list, and the named fields.
    Table(Vec<Expression>, Vec<(Expression, Expression)>),
    Index(Box<Expression>, Box<Expression>),
    Call(Box<Expression>, Vec<Expression>),
    /// In parentheses: it has one value, and is no target of an assignment.
    One(Box<Expression>),
    Unary(Unary, Box<Expression>),
    Binary(Binary, Box<Expression>, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    Minus,
    Length,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Concatenate,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A function of a script. Its parameters are its first slots.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) parameters: usize,
    pub(super) slots: usize,
    /// Where the variables that it captures are in the function around it.
    pub(super) captures: Vec<Place>,
    pub(super) body: Block,
}

/// A function that every script has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Builtin {
    Call,
    ProtectedCall,
    StatusReply,
    ErrorReply,
    ToNumber,
    ToString,
    Type,
    Unpack,
    Sub,
    Len,
    Format,
    Lower,
    Upper,
    Insert,
    Min,
    Max,
    Floor,
}

impl Builtin {
    /// By its name, with the name of its library before it if it has one.
    pub(super) fn find(library: Option<&str>, name: &str) -> Option<Self> {
        Some(match (library, name) {
            (Some("redis"), "call") => Self::Call,
            (Some("redis"), "pcall") => Self::ProtectedCall,
            (Some("redis"), "status_reply") => Self::StatusReply,
            (Some("redis"), "error_reply") => Self::ErrorReply,
            (None, "tonumber") => Self::ToNumber,
            (None, "tostring") => Self::ToString,
            (None, "type") => Self::Type,
            (None, "unpack") | (Some("table"), "unpack") => Self::Unpack,
            (Some("string"), "sub") => Self::Sub,
            (Some("string"), "len") => Self::Len,
            (Some("string"), "format") => Self::Format,
            (Some("string"), "lower") => Self::Lower,
            (Some("string"), "upper") => Self::Upper,
            (Some("table"), "insert") => Self::Insert,
            (Some("math"), "min") => Self::Min,
            (Some("math"), "max") => Self::Max,
            (Some("math"), "floor") => Self::Floor,
            _ => return None,
        })
    }
}
