//! Queries whose fields are filled in when they are executed.
//!
//! The language of the fields is HashiCorp's HIL: text with `${…}` in it, where names,
//! numbers, quoted texts, operators and a choice (`a == b ? c : d`) may stand. What it
//! can ask for: `name.full`, `name.prefix`, `name.suffix`, `agent.segment` and
//! `match(n)`, the n-th group of the regular expression over the whole name
//! (`reference/http-api.md` 3.9). Texts of complaints are HIL's and Go's.
//!
//! A template is compiled once, when its query is stored ([`Template::compile`]), and
//! filled in as often as it is asked for ([`Template::render`]): [`scan`] → [`parse`] →
//! [`check`] → [`evaluate`]. All of it depends on the definition alone, so every server
//! accepts the same templates.
//!
//! Bounds: levels of an expression, the size of what the regular expression compiles to
//! (which is matched in linear time), and the size of what comes out ([`TEXT_BYTES_MAX`]).
//! Where Consul's own server panics (`match(-1)`, a division by zero), this one answers
//! with an empty text and an error.

mod check;
mod evaluate;
mod fields;
mod parse;
mod scan;

use filter::Pattern;
use thiserror::Error;
use types::prepared_query::{NAME_PREFIX_MATCH, PreparedQuery};

use self::evaluate::{Code, Scope};

/// Most bytes that the fields of one query may come to when they are filled in.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;

/// A template that is refused, or that a name cannot fill in. The texts are Consul's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    /// There is no such type.
    #[error("Bad Template.Type '{0}'")]
    Type(String),
    /// The regular expression is none.
    #[error("Bad Regexp: {0}")]
    Regexp(String),
    /// A field follows no grammar.
    #[error("Bad format '{text}' in {field}: {reason}")]
    Format {
        /// The text of the field.
        text: String,
        /// Its path: `Service.Tags[1]`.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// A field cannot be filled in.
    #[error("Bad evaluation for '{text}' in {field}: {reason}")]
    Evaluation {
        /// The text of the field.
        text: String,
        /// Its path: `Service.Tags[1]`.
        field: String,
        /// What is wrong.
        reason: String,
    },
}

/// The compiled form of a query that is a template.
#[derive(Clone, Debug)]
pub struct Template {
    regexp: Option<Pattern>,
    /// The code of each field that has something to fill in, by the field's place in the
    /// order of [`fields::visit`].
    codes: Vec<(usize, Code)>,
}

impl Template {
    /// Compiles a query. It is filled in once for its own name, so that mistakes that do
    /// not depend on the name are told when it is stored.
    pub fn compile(query: &PreparedQuery) -> Result<Self, TemplateError> {
        let template = &query.template;
        if template.kind != NAME_PREFIX_MATCH {
            return Err(TemplateError::Type(template.kind.clone()));
        }
        let regexp = match template.regexp.as_str() {
            "" => None,
            text => Some(Pattern::compile(text).map_err(|e| TemplateError::Regexp(e.to_string()))?),
        };
        let mut trees = Vec::new();
        let mut place = 0;
        fields::visit(&mut query.service.clone(), &mut |field, text| {
            // Most fields are plain texts, which mean themselves.
            if text.contains('$') {
                let tree = parse::parse(text).map_err(|error| {
                    let (text, field) = (text.to_owned(), field.to_string());
                    TemplateError::Format { text, field, reason: error.to_string() }
                })?;
                trees.push((place, field.to_string(), text.to_owned(), tree));
            }
            place += 1;
            Ok(None)
        })?;
        let mut codes = Vec::with_capacity(trees.len());
        for (place, field, text, tree) in trees {
            let code = check::check(tree).map_err(|reason| TemplateError::Evaluation {
                text,
                field,
                reason,
            })?;
            codes.push((place, code));
        }
        let compiled = Self { regexp, codes };
        compiled.render(query, &query.name, "")?;
        Ok(compiled)
    }

    /// The query that this was compiled from, filled in for a name that an agent in this
    /// network segment asks for.
    pub fn render(
        &self,
        query: &PreparedQuery,
        name: &str,
        segment: &str,
    ) -> Result<PreparedQuery, TemplateError> {
        let prefix = query.name.as_str();
        let scope = Scope {
            full: name,
            prefix,
            suffix: name.strip_prefix(prefix).unwrap_or(name),
            segment,
            groups: self.regexp.as_ref().and_then(|regexp| regexp.groups(name)).unwrap_or_default(),
        };
        let mut rendered = query.clone();
        let mut codes = self.codes.iter().peekable();
        let mut place = 0;
        let mut room = TEXT_BYTES_MAX;
        fields::visit(&mut rendered.service, &mut |field, text| {
            let code = codes.next_if(|(at, _)| *at == place).map(|(_, code)| code);
            place += 1;
            let Some(code) = code else { return Ok(None) };
            let mut filled = String::new();
            code.append(&scope, &mut filled, room).map_err(|reason| {
                let (text, field) = (text.to_owned(), field.to_string());
                TemplateError::Evaluation { text, field, reason }
            })?;
            room -= filled.len();
            Ok(Some(filled))
        })?;
        if query.template.remove_empty_tags
            && let Some(tags) = &mut rendered.service.tags
        {
            tags.retain(|tag| !tag.is_empty());
        }
        Ok(rendered)
    }
}

#[cfg(test)]
mod tests;
