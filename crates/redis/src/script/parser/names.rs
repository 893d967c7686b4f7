//! Which variable a name is: one of the function itself, or one that it captures from a function around it.

use super::Place;

/// Most variables that a function may have at a time.
const VARIABLES_MAX: usize = 200;

/// The names that are known at a point of a script.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// From the outermost to the innermost.
    functions: Vec<FunctionNames>,
}

#[derive(Debug, Default)]
struct FunctionNames {
    /// In the order of declaration: later ones hide earlier ones of the same name. A variable's index is its slot.
    variables: Vec<String>,
    slots: usize,
    captured: Vec<(String, Place)>,
}

impl Names {
    pub(super) fn begin_function(&mut self) {
        self.functions.push(FunctionNames::default());
    }

    /// How many slots it has, and where what it captures is in the function around it.
    pub(super) fn end_function(&mut self) -> (usize, Vec<Place>) {
        let function = self.functions.pop().unwrap_or_default();
        (function.slots, function.captured.into_iter().map(|(_, place)| place).collect())
    }

    /// What to give to [`Names::end_scope`].
    pub(super) fn begin_scope(&self) -> usize {
        self.functions.last().map_or(0, |function| function.variables.len())
    }

    pub(super) fn end_scope(&mut self, scope: usize) {
        if let Some(function) = self.functions.last_mut() {
            function.variables.truncate(scope);
        }
    }

    /// A new variable of the innermost function; its slot.
    pub(super) fn declare(&mut self, name: String) -> Result<usize, String> {
        let Some(function) = self.functions.last_mut() else { return Err("a variable outside of functions".into()) };
        let slot = function.variables.len();
        if slot == VARIABLES_MAX {
            return Err(format!("more than {VARIABLES_MAX} variables"));
        }
        function.variables.push(name);
        function.slots = function.slots.max(slot + 1);
        Ok(slot)
    }

    /// Whether there is such a variable, in a function around this one too.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.functions.iter().rposition(|function| function.slot(name).is_some())
    }

    /// Where the variable is. What is of a function around it is captured by every function between the two.
    pub(super) fn resolve(&mut self, name: &str) -> Option<Place> {
        let owner = self.find(name)?;
        let mut place = Place::Slot(self.functions[owner].slot(name)?);
        for function in &mut self.functions[owner + 1..] {
            place = Place::Captured(function.capture(name, place));
        }
        Some(place)
    }
}

impl FunctionNames {
    fn slot(&self, name: &str) -> Option<usize> {
        self.variables.iter().rposition(|variable| variable == name)
    }

    fn capture(&mut self, name: &str, place: Place) -> usize {
        let known = self.captured.iter().position(|(captured, at)| captured == name && *at == place);
        known.unwrap_or_else(|| {
            self.captured.push((name.to_owned(), place));
            self.captured.len() - 1
        })
    }
}
