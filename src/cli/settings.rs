//! Settings: conversion of arguments and environment variables to typed options.
//!
//! Rules about combinations apply to flags on the command line; an environment variable that
//! contradicts a flag is ignored.

mod filter;

use super::args::{
    BagArgs, CatArgs, ColorArg, DiffArgs, DigestArg, DurabilityArg, ExplainArgs, ExportArgs,
    ExportFormatArg, ImportArgs, ImportFormatArg, LsArgs, MirrorArgs, MirrorFlags, OutputArgs,
    PutArgs, RunArgs, VerifyArgs,
};
use super::keys;
use super::values::SampleArg;
use crate::api::environment::{state_dir, store, store_of, workers};
use crate::api::{
    Diff, DiffBuilder, Mirror, MirrorBuilder, Verify, VerifyAgainst, VerifyAgainstBuilder,
    VerifyBuilder,
};
use crate::engine::Holes;
use crate::limits::{LimitOptions, Until};
use crate::location::{Location, SingleLocation};
use crate::manifest::list::ListFormat;
use crate::model::{Durability, Error, ErrorKind, ExtraKinds, Timestamp};
use crate::place::random;
use crate::report::{HumanOptions, OutputOptions, ProgressStyle};
use crate::session::cat::CatOptions;
use crate::session::export::{ExportFile, ExportFormat};
use crate::session::import::ImportOptions;
use crate::session::ls::LsOptions;
use crate::session::manifest::ManifestAt;
use crate::session::put::PutOptions;
use crate::session::{BagOptions, DeleteOptions};
use crate::verify::{Choice, Depth, Sample};
use clap::ArgMatches;
use clap::parser::ValueSource;
use filter::filter;
use rustix::fs::Mode;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};

/// Makes a mirror; `umask` has the permissions that the user's new files lack.
///
/// # Errors
/// [`ErrorKind::Usage`] for contradictory options, an illegal pattern, a pattern file that can't be
/// read, or if there is no directory for the state.
pub(crate) fn mirror(
    args: &MirrorArgs,
    matches: &ArgMatches,
    umask: Mode,
) -> Result<Mirror, Error> {
    if !args.more.is_empty() {
        let count = args.more.len() + 2;
        return Err(usage(format!(
            "mirror takes one SOURCE and one TARGET, not {count} locations"
        ))
        .help(
            "run vidimus once for each source, with a target for each; they can share one only \
             without --delete, which would remove what the others copied there",
        ));
    }
    let (source, target) = (&args.source, &args.target);
    let (builder, _) = mirror_builder(source, target, &args.flags, matches)?;
    let mirror = builder.umask(umask.as_raw_mode()).build()?;
    // A password is asked for when all else is known to be legal.
    let key = args.flags.sign.as_deref().map(keys::secret).transpose()?;
    Ok(with(mirror, key, Mirror::signed))
}

/// A mirror, with the origins of its filter's rules.
pub(crate) struct FilteredMirror {
    pub(crate) mirror: Mirror,
    /// The origin of each rule of its filter, in words.
    pub(crate) origins: Vec<String>,
}

/// Makes the mirror that is explained.
///
/// # Errors
/// Those of [`mirror`].
pub(crate) fn explain(
    args: &ExplainArgs,
    matches: &ArgMatches,
    umask: Mode,
) -> Result<FilteredMirror, Error> {
    let (builder, origins) = mirror_builder(&args.source, &args.target, &args.flags, matches)?;
    Ok(FilteredMirror { mirror: builder.umask(umask.as_raw_mode()).build()?, origins })
}

/// Sets an option of a builder if it has a value.
fn with<B, T>(builder: B, value: Option<T>, set: impl FnOnce(B, T) -> B) -> B {
    match value {
        Some(value) => set(builder, value),
        None => builder,
    }
}

/// Starts a mirror. Also returns the origin of each rule of its filter, in words.
fn mirror_builder(
    source: &OsStr,
    target: &OsStr,
    flags: &MirrorFlags,
    matches: &ArgMatches,
) -> Result<(MirrorBuilder, Vec<String>), Error> {
    let (builder, origins) = run(&flags.run, matches, source, target)?;
    let checksum = Switch { id: "checksum", is_on: flags.run.checksum };
    let size_only = Switch { id: "size_only", is_on: flags.size_only };
    let chosen = choose(matches, checksum, size_only).ok_or_else(|| {
        usage("--checksum and --size-only can't be used together")
            .help("--checksum compares content, --size-only ignores it: choose one")
    })?;
    let checksum = chosen == Chosen::First;
    let size_only = Switch { is_on: chosen == Chosen::Second, ..size_only };
    let digest = Switch { id: "digest", is_on: !flags.digest.is_empty() };
    let chosen = choose(matches, size_only, digest).ok_or_else(|| {
        usage("--digest and --size-only can't be used together")
            .help("--size-only takes files as equal without reading them: leave it out")
    })?;
    let by_number = Switch { id: "numeric_ids", is_on: flags.numeric_ids };
    let by_name = Switch { id: "by_name", is_on: flags.by_name };
    let by_name = choose(matches, by_number, by_name).ok_or_else(|| {
        usage("--numeric-ids and --by-name can't be used together")
            .help("owners are kept by number, or given by name: choose one")
    })? == Chosen::Second;
    let sparse = Switch { id: "sparse", is_on: flags.sparse };
    let no_holes = Switch { id: "no_holes", is_on: flags.no_holes };
    let holes = match choose(matches, sparse, no_holes) {
        Some(Chosen::First) => Holes::Make,
        Some(Chosen::Second) => Holes::Fill,
        Some(Chosen::Neither) => Holes::Keep,
        None => {
            return Err(usage("--sparse and --no-holes can't be used together")
                .help("--sparse makes holes of zeros, --no-holes writes them out: choose one"));
        }
    };
    let digests = if chosen == Chosen::Second { digests(&flags.digest) } else { NO_DIGESTS };
    let builder = with(builder, flags.manifest_mode, MirrorBuilder::manifest_mode);
    let builder = with(builder, flags.backup_dir.as_ref(), MirrorBuilder::backup_dir);
    let builder = with(builder, flags.chown.as_ref(), MirrorBuilder::chown);
    let chmod = (!flags.chmod.is_empty()).then(|| flags.chmod.join(","));
    let builder = with(builder, chmod, MirrorBuilder::chmod);
    let builder = with(builder, flags.usermap.as_ref(), MirrorBuilder::usermap);
    let builder = with(builder, flags.groupmap.as_ref(), MirrorBuilder::groupmap);
    let builder = with(builder, filter::names(flags, matches)?, MirrorBuilder::listed);
    let builder = builder
        .until(Until {
            max_transfer: flags.max_transfer.map(|size| size.0),
            max_duration: flags.max_duration,
            windows: flags.window.clone().map_or_else(Vec::new, |windows| windows.0),
        })
        .markers(!flags.no_markers)
        .holes(holes)
        .checksum(checksum)
        .size_only(chosen == Chosen::First)
        .update(flags.update)
        .ignore_existing(flags.ignore_existing)
        .by_name(by_name)
        .hard_links(!flags.no_hard_links)
        .specials(!flags.no_specials)
        .renames(!flags.no_renames)
        .extended_attributes(!flags.no_xattrs)
        .acls(!flags.no_acls)
        .atimes(flags.atimes)
        .flags(flags.flags)
        .existing(flags.existing)
        .modify_window(flags.modify_window.unwrap_or_default())
        .safe_links(flags.safe_links)
        .copy_links(flags.copy_links)
        .digests(digests);
    Ok((builder, origins))
}

/// Makes a mirror that makes a bag; `umask` has the permissions that the user's new files lack.
///
/// # Errors
/// Those of [`mirror`].
pub(crate) fn bag(args: &BagArgs, matches: &ArgMatches, umask: Mode) -> Result<Mirror, Error> {
    let (builder, _) = run(&args.run, matches, &args.source, &args.bag)?;
    if Durability::from(args.run.durability) == Durability::None {
        return Err(usage("a bag can't be made with --durability none")
            .help("a bag that is declared complete has to be durable: choose batch or file"));
    }
    builder.bag(BagOptions { mode: 0o777 & !umask.as_raw_mode() }).build()
}

/// Starts a mirror with the options that all mirroring commands share. Also returns the origin of
/// each rule of its filter, in words.
fn run(
    args: &RunArgs,
    matches: &ArgMatches,
    source: &OsStr,
    target: &OsStr,
) -> Result<(MirrorBuilder, Vec<String>), Error> {
    if !args.delete {
        for (id, flag) in [
            ("delete_excluded", "--delete-excluded"),
            ("max_delete", "--max-delete"),
            ("delete_despite_errors", "--delete-despite-errors"),
            ("accept_source", "--accept-source"),
        ] {
            if typed(matches, id) {
                return Err(usage(format!("{flag} needs --delete"))
                    .help("without --delete nothing is deleted from the target"));
            }
        }
    }
    if args.accept_changes && args.max_change.is_none() && typed(matches, "accept_changes") {
        return Err(usage("--accept-changes makes no sense without --max-change")
            .help("without --max-change any number of changes is accepted"));
    }
    let (filter, origins) = filter(&args.filter, matches)?;
    let delete = args.delete.then_some(DeleteOptions {
        excluded: args.delete_excluded,
        max: args.max_delete,
        despite_errors: args.delete_despite_errors,
        accept_source: args.accept_source,
    });
    let builder = Mirror::builder(source, target)
        .dry_run(args.dry_run)
        .filter(filter.into())
        .checksum(args.checksum)
        .ignore_ctime(args.ignore_ctime)
        .ignore_inode(args.ignore_inode)
        .accept_silent_changes(args.accept_silent_changes)
        .durability(args.durability.into())
        .count_ahead(counts_ahead(&args.output, matches))
        .limits((&args.limits).into())
        .allow_http(args.allow_http);
    let builder = with(builder, args.state_dir.as_ref(), MirrorBuilder::state_dir);
    let builder = with(builder, delete, MirrorBuilder::delete);
    let max_change = args.max_change.filter(|_| !args.accept_changes).map(|max| max.0);
    let builder = with(builder, max_change, MirrorBuilder::max_change);
    let builder = with(builder, args.require_file.as_ref(), MirrorBuilder::require_file);
    let builder = with(builder, args.transfers, MirrorBuilder::transfers);
    Ok((with(builder, args.checkers, MirrorBuilder::checkers), origins))
}

/// No digests beside BLAKE3.
const NO_DIGESTS: ExtraKinds = ExtraKinds { sha256: false, md5: false };

fn digests(kinds: &[DigestArg]) -> ExtraKinds {
    ExtraKinds { sha256: kinds.contains(&DigestArg::Sha256), md5: kinds.contains(&DigestArg::Md5) }
}

/// What a verification compares with.
pub(crate) enum Verifying {
    /// What is recorded.
    Recorded(Box<Verify>),
    /// A source.
    Against(Box<VerifyAgainst>),
}

/// Makes a verification: of a target against its records, or against a source if one is requested.
///
/// # Errors
/// [`ErrorKind::Usage`] for contradictory options, or if there is no directory for the state.
pub(crate) fn verify(args: &VerifyArgs, matches: &ArgMatches) -> Result<Verifying, Error> {
    if let Some(source) = against(args, matches)? {
        return verify_against(args, source, matches)
            .map(|verify| Verifying::Against(Box::new(verify)));
    }
    let builder = Verify::builder(&args.target)
        .strict(args.strict)
        .allow_incomplete(args.allow_incomplete)
        .count_ahead(counts_ahead(&args.output, matches))
        .limits((&args.reading).into())
        .allow_http(args.allow_http);
    let builder = match depth(args, matches)? {
        Depth::Stamps => builder.quick(),
        Depth::Content(Choice { sample, unverified_since, budget }) => {
            let builder = with(builder, sample, VerifyBuilder::sample);
            let builder = with(builder, unverified_since, VerifyBuilder::unverified_since);
            with(builder, budget, VerifyBuilder::budget)
        }
    };
    let key = args.key.as_deref().map(keys::public).transpose()?;
    let builder = with(builder, key, VerifyBuilder::signed_with);
    let builder = with(builder, args.repair_from.as_ref(), VerifyBuilder::repair_from);
    let builder = with(builder, args.state_dir.as_ref(), VerifyBuilder::state_dir);
    let builder = with(builder, args.reading.checkers, VerifyBuilder::checkers);
    Ok(Verifying::Recorded(Box::new(builder.build()?)))
}

fn verify_against(
    args: &VerifyArgs,
    source: &OsStr,
    matches: &ArgMatches,
) -> Result<VerifyAgainst, Error> {
    let (filter, _) = filter(&args.filter, matches)?;
    let builder = VerifyAgainst::builder(&args.target, source)
        .filter(filter.into())
        .strict(args.strict)
        .count_ahead(counts_ahead(&args.output, matches))
        .limits((&args.reading).into())
        .allow_http(args.allow_http);
    let builder = with(builder, sample(args)?, VerifyAgainstBuilder::sample);
    let builder = with(builder, args.state_dir.as_ref(), VerifyAgainstBuilder::state_dir);
    with(builder, args.reading.checkers, VerifyAgainstBuilder::checkers).build()
}

/// Returns the source to compare a target with, if one is requested.
fn against<'a>(args: &'a VerifyArgs, matches: &ArgMatches) -> Result<Option<&'a OsStr>, Error> {
    let Some(source) = &args.against else {
        let filters = [
            "exclude",
            "include",
            "exclude_from",
            "include_from",
            "min_size",
            "max_size",
            "min_age",
            "max_age",
            "one_file_system",
            "exclude_caches",
            "exclude_if_present",
            "ignore_files",
        ];
        if let Some(id) = filters.into_iter().find(|id| typed(matches, id)) {
            let flag = id.replace('_', "-");
            return Err(usage(format!("--{flag} needs --against"))
                .help("without it, the filter of the recorded run is used"));
        }
        return Ok(None);
    };
    let mut is_chosen = true;
    for (id, flag, is_given) in [
        ("quick", "--quick", args.quick),
        ("older_than", "--older-than", args.older_than.is_some()),
        ("budget", "--budget", args.budget.is_some()),
        ("key", "--key", args.key.is_some()),
        ("repair_from", "--repair-from", args.repair_from.is_some()),
    ] {
        let against = Switch { id: "against", is_on: is_chosen };
        let chosen = choose(matches, against, Switch { id, is_on: is_given }).ok_or_else(|| {
            usage(format!(
                "--against reads both sides and uses no record: it can't be used with {flag}"
            ))
            .help("leave one of them out")
        })?;
        is_chosen = chosen == Chosen::First;
    }
    Ok(is_chosen.then_some(source))
}

/// Makes the options of an import.
///
/// # Errors
/// [`ErrorKind::Usage`] for an illegal location or contradictory options.
pub(crate) fn import(args: &ImportArgs) -> Result<ImportOptions, Error> {
    let target = Location::parse(&args.target)?;
    let has_store = target.is_remote();
    Ok(ImportOptions {
        target_store: store(&target, args.allow_http)?,
        target,
        format: match args.format {
            ImportFormatArg::B3sum => ListFormat::B3sum,
            ImportFormatArg::Sha256sum => ListFormat::Sha256sum,
        },
        state_dir: state_dir(args.state_dir.as_deref())?,
        checkers: workers(args.reading.checkers, has_store),
        limits: (&args.reading).into(),
    })
}

/// Makes a comparison.
///
/// # Errors
/// [`ErrorKind::Usage`] for an illegal location or contradictory options.
pub(crate) fn diff(args: &DiffArgs, matches: &ArgMatches) -> Result<Diff, Error> {
    check_amount(matches, args.verbose, args.quiet)?;
    if args.recorded && args.content {
        return Err(usage("--recorded looks at neither place: it can't be used with --content")
            .help("leave one of them out"));
    }
    let builder = Diff::builder(&args.a, &args.b)
        .recorded(args.recorded)
        .content(args.content)
        .metadata(!args.no_metadata)
        .limits((&args.reading).into())
        .allow_http(args.allow_http);
    with(builder, args.reading.checkers, DiffBuilder::checkers).build()
}

/// Decides how thoroughly files are verified.
fn depth(args: &VerifyArgs, matches: &ArgMatches) -> Result<Depth, Error> {
    let mut quick = args.quick;
    for (id, flag, is_given) in [
        ("sample", "--sample", args.sample.is_some()),
        ("older_than", "--older-than", args.older_than.is_some()),
        ("budget", "--budget", args.budget.is_some()),
    ] {
        let switch = Switch { id: "quick", is_on: quick };
        let chosen = choose(matches, switch, Switch { id, is_on: is_given }).ok_or_else(|| {
            usage(format!("--quick reads nothing: it can't be used with {flag}"))
                .help("leave one of them out")
        })?;
        quick = chosen == Chosen::First;
    }
    if quick {
        return Ok(Depth::Stamps);
    }
    let unverified_since = args.older_than.map(|time| {
        let now = jiff::Timestamp::now().as_second();
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Timestamp { seconds: now.saturating_sub(seconds), nanos: 0 }
    });
    Ok(Depth::Content(Choice { sample: sample(args)?, unverified_since, budget: args.budget }))
}

fn sample(args: &VerifyArgs) -> Result<Option<Sample>, Error> {
    Ok(match args.sample {
        None => None,
        Some(SampleArg::Part { number, of }) => Some(Sample::Part { number, of }),
        Some(SampleArg::Share { percent, seed }) => {
            Some(Sample::Share { percent, seed: seed.map_or_else(random, Ok)? })
        }
    })
}

/// Makes the options of a list.
///
/// # Errors
/// [`ErrorKind::Usage`] for an illegal location.
pub(crate) fn ls(args: &LsArgs) -> Result<LsOptions, Error> {
    let location = SingleLocation::parse(&args.location)?;
    Ok(LsOptions {
        store: store_of(&location, args.allow_http)?,
        location,
        recursive: args.recursive,
        spool_dir: env::temp_dir(),
    })
}

/// Makes the options of reading one file or object.
///
/// # Errors
/// [`ErrorKind::Usage`] for an illegal location.
pub(crate) fn cat(args: &CatArgs) -> Result<CatOptions, Error> {
    let location = SingleLocation::parse(&args.location)?;
    Ok(CatOptions { store: store_of(&location, args.allow_http)?, location })
}

/// Makes the options of reading a manifest.
///
/// # Errors
/// [`ErrorKind::Usage`] for an illegal location.
pub(crate) fn manifest(location: &OsStr, allow_http: bool) -> Result<ManifestAt, Error> {
    let location = Location::parse(location)?;
    let store = store(&location, allow_http)?;
    Ok(ManifestAt { location, store, limits: LimitOptions::default(), spool_dir: env::temp_dir() })
}

/// The settings of an export.
pub(crate) struct ExportSettings {
    pub(crate) at: ManifestAt,
    pub(crate) format: ExportFormat,
    /// The destination, unless it is standard output.
    pub(crate) file: Option<ExportFile>,
}

/// Makes the settings of an export; `umask` has the permissions that the user's new files lack.
///
/// # Errors
/// [`ErrorKind::Usage`] for an illegal location or destination.
pub(crate) fn export(args: &ExportArgs, umask: Mode) -> Result<ExportSettings, Error> {
    let format = match args.format {
        ExportFormatArg::B3sum => ExportFormat::B3sum,
        ExportFormatArg::Json => ExportFormat::Json,
        ExportFormatArg::Csv => ExportFormat::Csv,
        ExportFormatArg::Sha256sum => ExportFormat::Sha256sum,
        ExportFormatArg::Hashdeep => ExportFormat::Hashdeep,
    };
    let file = |output: &OsString| match SingleLocation::parse(output)?.into_path() {
        Some(path) => Ok(ExportFile { path, mode: 0o666 & !umask.as_raw_mode() }),
        None => Err(usage("--output takes a local file")
            .help("for an object, pipe standard output to `vidimus put`")),
    };
    let output = args.output.as_ref().filter(|output| *output != "-");
    let file = output.map(file).transpose()?;
    Ok(ExportSettings { at: manifest(&args.location, args.allow_http)?, format, file })
}

/// Makes the options of a `put`; `umask` has the permissions that the user's new files lack.
///
/// # Errors
/// [`ErrorKind::Usage`] for contradictory options, or if there is no directory for the state.
pub(crate) fn put(args: &PutArgs, umask: Mode) -> Result<PutOptions, Error> {
    if args.source != "-" {
        return Err(usage("put reads only standard input, which is written -")
            .help("vidimus put - LOCATION < FILE; `vidimus mirror` copies files"));
    }
    if args.location == "-" {
        return Err(usage("put writes to a file or an object, not to standard output")
            .help("for a file of that name write ./-"));
    }
    let location = SingleLocation::parse(&args.location)?;
    Ok(PutOptions {
        store: store_of(&location, args.allow_http)?,
        location,
        state_dir: state_dir(args.state_dir.as_deref())?,
        sign: args.sign.as_deref().map(keys::secret).transpose()?,
        expected_size: args.expected_size.map(|size| size.0),
        mode: 0o666 & !umask.as_raw_mode(),
        limits: (&args.limits).into(),
    })
}

/// Refuses flags that contradict each other.
///
/// # Errors
/// [`ErrorKind::Usage`] for `--verbose` with `--quiet`, whether typed or set by the environment.
pub(crate) fn check_output(args: &OutputArgs, matches: &ArgMatches) -> Result<(), Error> {
    check_amount(matches, args.verbose, args.quiet)
}

fn check_amount(matches: &ArgMatches, verbose: bool, quiet: bool) -> Result<(), Error> {
    let [verbose, quiet] = amounts(verbose, quiet);
    match choose(matches, verbose, quiet) {
        Some(_) => Ok(()),
        None => Err(usage("--verbose and --quiet can't be used together")
            .help("--verbose prints more, --quiet nothing but failures: choose one")),
    }
}

/// Returns whether to count the total work ahead for progress estimates. With `--json` this is done
/// only for `--progress`, because counting may cost requests.
fn counts_ahead(args: &OutputArgs, matches: &ArgMatches) -> bool {
    if args.json {
        return progress(args, matches) == Chosen::First;
    }
    human(args, matches, false).progress != ProgressStyle::Off
}

/// Decides between `--progress` (the first) and `--no-progress`.
fn progress(args: &OutputArgs, matches: &ArgMatches) -> Chosen {
    let progress = Switch { id: "progress", is_on: args.progress };
    last(matches, progress, Switch { id: "no_progress", is_on: args.no_progress })
}

/// How much is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    Usual,
    Verbose,
    Quiet,
}

fn amounts(verbose: bool, quiet: bool) -> [Switch; 2] {
    [Switch { id: "verbose", is_on: verbose }, Switch { id: "quiet", is_on: quiet }]
}

/// Decides how much is printed.
pub(crate) fn amount(matches: &ArgMatches, verbose: bool, quiet: bool) -> Amount {
    let [verbose, quiet] = amounts(verbose, quiet);
    // [`check_amount`] refused both, unless the environment has one of them.
    match last(matches, verbose, quiet) {
        Chosen::Neither => Amount::Usual,
        Chosen::First => Amount::Verbose,
        Chosen::Second => Amount::Quiet,
    }
}

/// Makes the options of the report for people; with `dry_run` it shows each change.
pub(crate) fn human(args: &OutputArgs, matches: &ArgMatches, dry_run: bool) -> HumanOptions {
    let amount = amount(matches, args.verbose, args.quiet);
    let (verbose, quiet) = (amount == Amount::Verbose, amount == Amount::Quiet);
    let is_terminal = is_terminal();
    let chosen = progress(args, matches);
    let progress = if chosen == Chosen::Second || quiet || args.json {
        ProgressStyle::Off
    } else if is_terminal {
        ProgressStyle::Bars
    } else if chosen == Chosen::First {
        ProgressStyle::Lines
    } else {
        ProgressStyle::Off
    };
    let color = match args.color {
        ColorArg::Always => true,
        ColorArg::Never => false,
        ColorArg::Auto => is_terminal && env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()),
    };
    HumanOptions { quiet, verbose, dry_run, progress, output: OutputOptions { color } }
}

/// A flag and whether it is on.
#[derive(Clone, Copy)]
struct Switch {
    id: &'static str,
    is_on: bool,
}

/// The result of choosing between two switches that exclude each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chosen {
    Neither,
    First,
    Second,
}

/// Decides between two switches that exclude each other: a typed one takes precedence over one set
/// by the environment; `None` if both come from the same place.
fn choose(matches: &ArgMatches, first: Switch, second: Switch) -> Option<Chosen> {
    match (first.is_on, second.is_on) {
        (false, false) => Some(Chosen::Neither),
        (true, false) => Some(Chosen::First),
        (false, true) => Some(Chosen::Second),
        (true, true) => match (typed(matches, first.id), typed(matches, second.id)) {
            (true, false) => Some(Chosen::First),
            (false, true) => Some(Chosen::Second),
            _ => None,
        },
    }
}

/// The format of a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListForm {
    Json,
    /// Escaped names, one per line.
    Lines,
    /// Unescaped names, each terminated by NUL.
    Null,
}

/// Decides on the format of a list.
pub(crate) fn ls_form(args: &LsArgs, matches: &ArgMatches) -> ListForm {
    let json = Switch { id: "json", is_on: args.json };
    match last(matches, json, Switch { id: "null", is_on: args.null }) {
        Chosen::Neither => ListForm::Lines,
        Chosen::First => ListForm::Json,
        Chosen::Second => ListForm::Null,
    }
}

/// Decides like [`choose`]; of two typed switches the last one wins, of two variables the second.
fn last(matches: &ArgMatches, first: Switch, second: Switch) -> Chosen {
    choose(matches, first, second).unwrap_or_else(|| {
        let first_is_last =
            typed(matches, first.id) && matches.index_of(first.id) > matches.index_of(second.id);
        if first_is_last { Chosen::First } else { Chosen::Second }
    })
}

/// Returns whether a flag was typed, rather than set by the environment or by default.
fn typed(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// Returns whether to show the progress of a `put`.
pub(crate) fn shows_put(args: &PutArgs) -> bool {
    is_terminal() && !(args.quiet || args.json || args.no_progress)
}

/// Returns whether stderr is a terminal in which bars can be drawn.
fn is_terminal() -> bool {
    io::stderr().is_terminal() && !is_dumb_terminal()
}

fn is_dumb_terminal() -> bool {
    env::var_os("TERM").is_some_and(|term| term == "dumb")
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

impl From<DurabilityArg> for Durability {
    fn from(typed: DurabilityArg) -> Self {
        match typed {
            DurabilityArg::File => Self::File,
            DurabilityArg::Batch => Self::Batch,
            DurabilityArg::None => Self::None,
        }
    }
}

#[cfg(test)]
mod tests;
