//! What a template finds by its names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::Object;

use crate::chain::values::Binding;
use crate::chain::{Secrets, Values};
use crate::manifest::Value;

/// The values of variables, and the names that a template has asked for.
pub(super) struct Context {
    values: BTreeMap<String, minijinja::Value>,
    asked: Mutex<BTreeSet<String>>,
}

impl Context {
    /// Takes the values of variables, and of the secrets that their layer lists.
    pub(super) fn new(values: &Values, secrets: Option<&Secrets>) -> Self {
        let value = |name: &str| match values.known(name) {
            Some(Binding::Value(value)) => Some(engine_value(value)),
            _ => None,
        };
        let always = ["name", "arch"].map(str::to_owned).into_iter();
        let lxc: BTreeMap<_, _> = always
            .filter_map(|name| Some((name.clone(), value(&format!("lxc.{name}"))?)))
            .collect();
        let named = values.names().filter_map(|name| Some((name.to_owned(), value(name)?)));
        let secret = values.secrets().filter_map(|(name, variable)| {
            Some((name.to_owned(), secrets?.get(variable)?.expose().into()))
        });
        let values = named.chain(secret).chain([("lxc".to_owned(), lxc.into())]).collect();
        Self { values, asked: Mutex::default() }
    }

    /// Returns the names that were asked for.
    pub(super) fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Object for Context {
    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        let name = key.as_str()?;
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        self.values.get(name).cloned()
    }
}

/// Its values may be secrets.
impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.values.keys()).finish()
    }
}

fn engine_value(value: &Value) -> minijinja::Value {
    match value {
        Value::String(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Boolean(truth) => (*truth).into(),
    }
}
