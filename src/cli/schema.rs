//! `schema`: prints the JSON schema of a format.

use super::arguments::{Schema, SchemaArguments};
use super::output;

pub(super) fn main(arguments: &SchemaArguments) -> u8 {
    let text = match arguments.of {
        Schema::Manifest => include_str!("../../schema/manifest.schema.json"),
        Schema::Layer => include_str!("../../schema/layer.schema.json"),
        Schema::Plan => include_str!("../../schema/plan.schema.json"),
        Schema::Runs => include_str!("../../schema/runs.schema.json"),
        Schema::Plans => include_str!("../../schema/plans.schema.json"),
        Schema::Upgrade => include_str!("../../schema/upgrade.schema.json"),
        Schema::Drift => include_str!("../../schema/drift.schema.json"),
        Schema::RoleDifference => include_str!("../../schema/role-difference.schema.json"),
        Schema::Record => include_str!("../../schema/record.schema.json"),
    };
    output::printed_data(0, |to| to.write_all(text.as_bytes()))
}
