//! What may stand in the files, as types whose comments an editor shows.

#![expect(dead_code, reason = "the types are read by the derive alone")]
#![expect(clippy::struct_field_names, reason = "the names are the keys")]

use crate::manifest::WORDS;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::json;

/// A manifest of layered-template: the layers of one host role.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "layered-template manifest")]
#[schemars(extend("anyOf" = [{ "required": ["layer"] }, { "required": ["extends"] }]))]
pub(super) struct Manifest {
    /// The version of the format.
    #[schemars(extend("const" = 1), example = 1)]
    manifest: u32,
    /// What the role is, for people.
    #[schemars(example = &"Public web front end")]
    description: Option<String>,
    /// The manifest whose layers stand inside this one's, relative to this file. Its variables are
    /// the defaults; this manifest binds them by its own of the same name, and has no template.
    #[schemars(example = &"base.toml")]
    extends: Option<String>,
    /// The variables: a value, or a table that says where it comes from.
    #[schemars(extend("propertyNames" = {
        "pattern": "^[a-z_][a-z0-9_]*$",
        "not": { "enum": WORDS },
    }))]
    #[schemars(example = json!({ "http_port": 8080 }))]
    vars: Option<BTreeMap<String, Variable>>,
    /// The layers, the innermost first: that one names the template that the others wrap.
    #[schemars(example = json!([{ "name": "os", "template": "debian" }]), length(max = 2048))]
    layer: Option<Vec<Layer>>,
}

/// A reusable layer of layered-template: a manifest names it with `use`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "layered-template layer")]
pub(super) struct LayerFile {
    /// The version of the format; it may be left out.
    #[schemars(extend("const" = 1), example = 1)]
    manifest: Option<u32>,
    /// What the layer does, for people.
    #[schemars(example = &"Runs a script at the first start")]
    description: Option<String>,
    /// The layer's own variables, the only ones that it sees. `with` binds them.
    #[schemars(extend("propertyNames" = {
        "pattern": "^[a-z_][a-z0-9_]*$",
        "not": { "enum": WORDS },
    }))]
    #[schemars(example = json!({ "script": { "required": true, "type": "path" } }))]
    vars: Option<BTreeMap<String, Variable>>,
    /// The layer.
    #[schemars(example = json!({ "post": "true" }))]
    layer: ReusableLayer,
}

/// A string, an integer or a boolean.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Plain {
    String(String),
    Integer(i64),
    Boolean(bool),
}

/// A variable.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Variable {
    Value(Plain),
    Table(VariableTable),
}

/// Where a variable's value comes from: one of `default`, `required`, `secret`, `from`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("anyOf" = [
    { "required": ["default"] }, { "required": ["required"] }, { "required": ["secret"] },
    { "required": ["from"] },
]))]
struct VariableTable {
    /// Whether whoever uses the file must give the value: by `--set`, a vars file, the `[vars]` of
    /// a manifest that extends this one, or `with`.
    #[schemars(example = true)]
    required: Option<bool>,
    /// The value if nothing else gives one.
    #[schemars(example = 8080)]
    default: Option<Plain>,
    /// What the variable is for, for people.
    #[schemars(example = &"host name served")]
    description: Option<String>,
    /// The type. A path is relative to the file that gives the value.
    r#type: Option<Kind>,
    /// Whether the value is a secret: it goes only to layers that list it in `secrets`, and nothing
    /// shows it.
    #[schemars(example = true)]
    secret: Option<bool>,
    /// The environment variable that a secret is read from.
    #[schemars(example = &"SITE_TOKEN", regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    env: Option<String>,
    /// The file that a secret is read from, without its last line feed, relative to this file.
    #[schemars(example = &"secrets/token", length(min = 1))]
    file: Option<String>,
    /// The layer whose pre steps hand the value inward; in a reusable layer `self`.
    #[schemars(example = &"app")]
    from: Option<LayerName>,
}

/// The type of a variable.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum Kind {
    String,
    Integer,
    Boolean,
    Path,
}

/// The name of a layer.
#[derive(JsonSchema)]
#[schemars(inline)]
struct LayerName(#[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))] String);

/// A layer: one wrapper of the chain, which stands here or is a reusable layer in this place.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend(
    "anyOf" = [{ "required": ["name"] }, { "required": ["use"] }],
    "dependentRequired" = {
        "args": ["template"], "inputs": ["template"], "sha256": ["template"], "with": ["use"],
    },
))]
struct Layer {
    /// The name of a reusable layer's file, without `.toml`: in `layers/` beside this file, in
    /// `$LAYERED_TEMPLATE_PATH`, in /etc or /usr/share, or compiled in. Only `name` and `with` stand
    /// beside it.
    #[schemars(example = &"provision-on-start")]
    r#use: Option<LayerName>,
    /// The values of the reusable layer's variables. `{{ name }}` stands for a variable of this
    /// manifest.
    #[schemars(example = json!({ "script": "files/provision.sh" }))]
    with: Option<BTreeMap<String, Plain>>,
    /// The layer's name, unique in the chain; beside `use` by default that of the file.
    #[schemars(example = &"app")]
    name: Option<LayerName>,
    /// The upstream template, in the first layer alone: a name in LXC's template directory, a path,
    /// or `builtin:busybox`.
    #[schemars(example = &"debian", example = &"builtin:busybox", length(min = 1))]
    template: Option<String>,
    /// The template's arguments: a table of options, or a list of words.
    #[schemars(example = json!({ "release": "bookworm" }), example = json!(["-r", "bookworm"]))]
    args: Option<Args>,
    /// Files and directories of the host that the template copies from, relative to this file: what
    /// they hold defines what is stored of the template.
    #[schemars(example = ["/etc/role/seed"])]
    inputs: Option<Words>,
    /// The SHA-256 digest that the template's script must have.
    #[schemars(
        example = &"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )]
    sha256: Option<Sha256>,
    /// Whether the layer is stored. By default it is, unless it has a `post` step on the host.
    #[schemars(example = false)]
    store: Option<bool>,
    /// After how long a stored result is rebuilt.
    #[schemars(example = &"7d", regex(pattern = "^[0-9]+[smhd]$"))]
    refresh: Option<String>,
    /// Paths inside the rootfs that differ between containers; they are removed from what is stored.
    #[schemars(example = ["/etc/app/instance-id"])]
    identity: Option<Words>,
    /// Paths inside the rootfs that belong to the container and not to the role: an upgrade keeps them
    /// as they are.
    #[schemars(example = ["/var/lib/postgresql"])]
    state: Option<Words>,
    /// The secrets that the layer gets, in the environment of its steps and in its rendered files.
    #[schemars(example = json!(["token"]))]
    secrets: Option<Vec<String>>,
    /// The environment of the layer's steps, and of the template.
    #[schemars(example = json!({ "MIRROR": { "pass": true } }))]
    env: Option<BTreeMap<String, EnvValue>>,
    /// Steps before what the layer wraps.
    #[schemars(example = &"command -v curl >/dev/null")]
    pre: Option<Steps>,
    /// Steps after what the layer wraps.
    #[schemars(example = &"systemctl --root=\"$LXC_ROOTFS\" enable app")]
    post: Option<Steps>,
    /// Steps after `post`, which prove the layer's work.
    #[schemars(example = &"test -x \"$LXC_ROOTFS/usr/bin/app\"")]
    check: Option<Steps>,
    /// Steps on the way out, whatever happened.
    #[schemars(example = &"rm -f build.lock")]
    finally: Option<Steps>,
    /// What the layer makes in the rootfs, or removes from it.
    #[schemars(example = json!([{ "path": "/etc/motd", "content": "hello\n" }]))]
    file: Option<Vec<File>>,
    /// Lines for the container's config, in this order; a list gives several.
    #[schemars(example = json!({ "lxc.start.auto": 1 }))]
    config: Option<BTreeMap<String, ConfigValue>>,
}

/// The layer of a file of its own: it is named where it is used.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ReusableLayer {
    /// Whether the layer is stored. By default it is, unless it has a `post` step on the host.
    #[schemars(example = false)]
    store: Option<bool>,
    /// After how long a stored result is rebuilt.
    #[schemars(example = &"7d", regex(pattern = "^[0-9]+[smhd]$"))]
    refresh: Option<String>,
    /// Paths inside the rootfs that differ between containers; they are removed from what is stored.
    #[schemars(example = ["/etc/app/instance-id"])]
    identity: Option<Words>,
    /// Paths inside the rootfs that belong to the container and not to the role: an upgrade keeps them
    /// as they are.
    #[schemars(example = ["/var/lib/postgresql"])]
    state: Option<Words>,
    /// The secrets that the layer gets, in the environment of its steps and in its rendered files.
    #[schemars(example = json!(["token"]))]
    secrets: Option<Vec<String>>,
    /// The environment of the layer's steps.
    #[schemars(example = json!({ "HTTPS_PROXY": { "pass": true } }))]
    env: Option<BTreeMap<String, EnvValue>>,
    /// Steps before what the layer wraps.
    #[schemars(example = &"command -v curl >/dev/null")]
    pre: Option<Steps>,
    /// Steps after what the layer wraps.
    #[schemars(example = &"systemctl --root=\"$LXC_ROOTFS\" enable app")]
    post: Option<Steps>,
    /// Steps after `post`, which prove the layer's work.
    #[schemars(example = &"test -x \"$LXC_ROOTFS/usr/bin/app\"")]
    check: Option<Steps>,
    /// Steps on the way out, whatever happened.
    #[schemars(example = &"rm -f build.lock")]
    finally: Option<Steps>,
    /// What the layer makes in the rootfs, or removes from it.
    #[schemars(example = json!([{ "path": "/etc/motd", "content": "hello\n" }]))]
    file: Option<Vec<File>>,
    /// Lines for the container's config, in this order; a list gives several.
    #[schemars(example = json!({ "lxc.start.auto": 1 }))]
    config: Option<BTreeMap<String, ConfigValue>>,
}

/// A SHA-256 digest: 64 hexadecimal digits, with or without `sha256:` in front.
#[derive(JsonSchema)]
#[schemars(inline)]
struct Sha256(#[schemars(regex(pattern = "^(sha256:)?[0-9A-Fa-f]{64}$"))] String);

/// The arguments of a template.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Args {
    /// `k = "v"` is `--k=v`, `true` is `--k`, `false` nothing, a list repeats, and a key of one
    /// letter is `-k v`.
    Options(BTreeMap<String, OptionValue>),
    /// The words.
    Words(Vec<String>),
}

/// The value of an option.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum OptionValue {
    One(Plain),
    Many(Vec<Plain>),
}

/// A value of an environment.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum EnvValue {
    Value(Plain),
    Passed(Passed),
}

/// The caller's own value.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Passed {
    /// Pass the caller's value on, if the caller has one.
    #[schemars(extend("const" = true), example = true)]
    pass: bool,
}

/// A step, or a list of steps.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Steps {
    One(Step),
    Many(Vec<Step>),
}

/// A word, or a list of them.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

/// A step: a command, or a table with one.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Step {
    Run(#[schemars(length(min = 1))] String),
    Table(StepTable),
}

/// A step.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["run"] }, { "required": ["script"] }]))]
struct StepTable {
    /// What progress and messages call the step, instead of its command.
    #[schemars(example = &"Install nginx", length(min = 1, max = 80))]
    title: Option<String>,
    /// Where the step runs.
    #[schemars(extend("enum" = ["host", "rootfs"], "default" = "host"))]
    r#in: Option<String>,
    /// Whether a step inside the rootfs has the host's network; otherwise it has only its own loopback.
    #[schemars(example = true, extend("default" = false))]
    network: Option<bool>,
    /// Whether a step with the host's network resolves names as the host does.
    #[schemars(example = false, extend("default" = true))]
    resolver: Option<bool>,
    /// Capabilities of a step inside the rootfs, besides those that a package manager needs.
    #[schemars(example = ["NET_ADMIN"])]
    capabilities: Option<Words>,
    /// Directories inside the rootfs that are kept on the host between runs.
    #[schemars(example = ["/var/cache/apt/archives"])]
    cache: Option<Words>,
    /// The command. It gets the variables as environment variables of the same names.
    #[schemars(example = &"systemctl --root=\"$LXC_ROOTFS\" enable app", length(min = 1))]
    run: Option<String>,
    /// A script of the host, relative to this file.
    #[schemars(example = &"scripts/register.sh", length(min = 1))]
    script: Option<String>,
    /// The shell and its options.
    #[schemars(extend("default" = "/bin/sh -eu"), length(min = 1))]
    shell: Option<String>,
    /// How long the step may take.
    #[schemars(example = &"2m", regex(pattern = "^[0-9]+[smhd]$"))]
    timeout: Option<String>,
}

/// Something that a layer makes in the rootfs, or removes from it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["source"] }, { "required": ["content"] }, { "required": ["url", "sha256"] },
    { "required": ["symlink"] }, { "required": ["directory"] }, { "required": ["remove"] },
]))]
struct File {
    /// Where: an absolute path inside the rootfs.
    #[schemars(example = &"/etc/app/app.conf", length(min = 1))]
    path: String,
    /// A file or a tree of the host, relative to this file.
    #[schemars(example = &"files/app.conf", length(min = 1))]
    source: Option<String>,
    /// The text of the file.
    #[schemars(example = &"listen 80;\n")]
    content: Option<String>,
    /// Where the file is fetched from, by http or https; `sha256` is required beside it.
    #[schemars(example = &"https://example.org/tool", length(min = 1))]
    url: Option<String>,
    /// The SHA-256 digest that the file at `url` must have.
    #[schemars(
        example = &"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )]
    sha256: Option<Sha256>,
    /// The target of a symbolic link.
    #[schemars(example = &"/usr/share/zoneinfo/UTC", length(min = 1))]
    symlink: Option<String>,
    /// `true` makes a directory.
    #[schemars(extend("const" = true), example = true)]
    directory: Option<bool>,
    /// `true` removes what is there, with everything below it.
    #[schemars(extend("const" = true), example = true)]
    remove: Option<bool>,
    /// Whether the source or the content is a template of variables.
    #[schemars(extend("default" = false))]
    render: Option<bool>,
    /// The permission bits, in octal digits.
    #[schemars(example = &"0640", regex(pattern = "^[0-7]{3,4}$"))]
    mode: Option<String>,
    /// The owner, as `user`, `user:group` or `:group`; names are looked up in the rootfs.
    #[schemars(extend("default" = "root:root"))]
    owner: Option<String>,
    /// What happens if something is there already.
    #[schemars(extend("enum" = ["replace", "keep", "error"], "default" = "replace"))]
    if_exists: Option<String>,
    /// When in the layer it is made.
    #[schemars(extend("enum" = ["before-post", "after-post"], "default" = "before-post"))]
    when: Option<String>,
}

/// The value of a config line; a table goes on with the key.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum ConfigValue {
    One(Plain),
    Many(#[schemars(length(min = 1))] Vec<Plain>),
    Table(BTreeMap<String, ConfigValue>),
}
