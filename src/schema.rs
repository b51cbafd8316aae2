//! The JSON schemas of what the program writes, made from its types; tests hold the files in
//! `schema/` to them.

use std::borrow::Cow;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::cache::PlanDocument;
use crate::chain::Origin;
use crate::cli::{DriftDocument, RoleDifference, RolePlan, UpgradeDocument};
use crate::digest::Digest;
use crate::manifest::{Capability, Duration, IfExists, LayerName, Mode, Owner, Phase, RootfsPath};
use crate::record::{Record, RunRecord};
use crate::source::At;

/// Types that are written as a text, with what that text is like.
macro_rules! text {
    ($($type:ty: $name:literal, $description:literal, $pattern:literal;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "description": $description,
                    "pattern": $pattern,
                })
            }
        }
    )*};
}

text! {
    At: "At", "A place in a file: its path and the line.", ":[0-9]+$";
    Capability: "Capability", "A capability, as capabilities(7) names it.", "^[A-Z_]+$";
    Digest: "Digest", "The SHA-256 digest of some bytes.", "^sha256:[0-9a-f]{64}$";
    Duration: "Duration", "A number and one of s, m, h, d.", "^[0-9]+[smhd]$";
    IfExists: "IfExists", "What happens where something is there.", "^(replace|keep|error)$";
    LayerName: "LayerName", "The name of a layer.", "^[A-Za-z0-9][A-Za-z0-9._-]*$";
    Mode: "Mode", "Permission bits, in octal.", "^[0-7]{4}$";
    Origin: "Origin", "Where a variable's value comes from.", "";
    Owner: "Owner", "A user and a group, each by name or number.", ":";
    RootfsPath: "RootfsPath", "An absolute path inside the rootfs.", "^/";
    Phase: "Phase", "When a step runs.", "^(pre|post|check|finally)$";
}

/// Compares a schema with the file that is checked in.
pub(crate) fn assert_current(name: &str, schema: &serde_json::Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name);
    let text = format!("{}\n", serde_json::to_string_pretty(schema).unwrap());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{} is not current; UPDATE_EXPECT=1 cargo test --lib", path.display());
}

#[test]
fn the_files_are_current() {
    assert_current("plan.schema.json", schemars::schema_for!(PlanDocument<'static>).as_value());
    assert_current("plans.schema.json", schemars::schema_for!(Vec<RolePlan<'static>>).as_value());
    assert_current("drift.schema.json", schemars::schema_for!(DriftDocument).as_value());
    assert_current("upgrade.schema.json", schemars::schema_for!(UpgradeDocument).as_value());
    assert_current("role-difference.schema.json", schemars::schema_for!(RoleDifference).as_value());
    assert_current("record.schema.json", schemars::schema_for!(Record).as_value());
    assert_current("runs.schema.json", schemars::schema_for!(Vec<RunRecord>).as_value());
}
