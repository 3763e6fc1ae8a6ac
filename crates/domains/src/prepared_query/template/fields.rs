//! The texts of a query that are filled in: every text in its `Service`, those in lists
//! and the values of maps included, in the order of the fields.

use std::collections::BTreeMap;
use std::fmt;

use types::prepared_query::ServiceQuery;
use types::{Datacenter, ServiceName};

use super::TemplateError;

/// The path of a text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'f> {
    Plain(&'static str),
    Item(&'static str, usize),
    Entry(&'static str, &'f str),
    Target(usize, &'static str),
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Plain(name) => write!(f, "Service.{name}"),
            Field::Item(name, at) => write!(f, "Service.{name}[{at}]"),
            Field::Entry(name, key) => write!(f, "Service.{name}[{key}]"),
            Field::Target(at, name) => write!(f, "Service.Failover.Targets[{at}].{name}"),
        }
    }
}

/// Sees each text, and says what to put in its place, if anything.
pub(super) type Visitor<'v> =
    dyn FnMut(Field<'_>, &str) -> Result<Option<String>, TemplateError> + 'v;

/// Shows all texts to the visitor.
pub(super) fn visit(
    service: &mut ServiceQuery,
    visitor: &mut Visitor<'_>,
) -> Result<(), TemplateError> {
    if let Some(text) = visitor(Field::Plain("Service"), service.service.as_str())? {
        service.service = ServiceName::from(text.as_str());
    }
    plain("SamenessGroup", &mut service.sameness_group, visitor)?;
    for (at, datacenter) in service.failover.datacenters.iter_mut().flatten().enumerate() {
        in_place(Field::Item("Failover.Datacenters", at), datacenter, visitor)?;
    }
    for (at, target) in service.failover.targets.iter_mut().flatten().enumerate() {
        if let Some(text) = visitor(Field::Target(at, "Peer"), &target.peer)? {
            target.peer = text;
        }
        in_place(Field::Target(at, "Datacenter"), &mut target.datacenter, visitor)?;
    }
    items("IgnoreCheckIDs", &mut service.ignore_check_ids, visitor)?;
    plain("Near", &mut service.near, visitor)?;
    items("Tags", &mut service.tags, visitor)?;
    entries("NodeMeta", &mut service.node_meta, visitor)?;
    entries("ServiceMeta", &mut service.service_meta, visitor)?;
    plain("Peer", &mut service.peer, visitor)
}

fn plain(
    name: &'static str,
    text: &mut String,
    visitor: &mut Visitor<'_>,
) -> Result<(), TemplateError> {
    if let Some(new) = visitor(Field::Plain(name), text)? {
        *text = new;
    }
    Ok(())
}

fn in_place(
    field: Field<'_>,
    datacenter: &mut Datacenter,
    visitor: &mut Visitor<'_>,
) -> Result<(), TemplateError> {
    if let Some(new) = visitor(field, datacenter.as_str())? {
        *datacenter = Datacenter::from(new.as_str());
    }
    Ok(())
}

fn items(
    name: &'static str,
    texts: &mut Option<Vec<String>>,
    visitor: &mut Visitor<'_>,
) -> Result<(), TemplateError> {
    for (at, text) in texts.iter_mut().flatten().enumerate() {
        if let Some(new) = visitor(Field::Item(name, at), text)? {
            *text = new;
        }
    }
    Ok(())
}

fn entries(
    name: &'static str,
    texts: &mut Option<BTreeMap<String, String>>,
    visitor: &mut Visitor<'_>,
) -> Result<(), TemplateError> {
    for (key, text) in texts.iter_mut().flatten() {
        if let Some(new) = visitor(Field::Entry(name, key), text)? {
            *text = new;
        }
    }
    Ok(())
}
