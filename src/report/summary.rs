//! The report of a run for people: changes, failures and differences as they come, and the summary at
//! the end of a mirror run. The summaries of other runs are made where their outcomes are known.

use super::bars::ProgressStyle;
use super::differences::side_difference;
use super::failures::Failures;
use super::flags;
use super::format::{count, counted, duration, error_rate, kinds, size, speed};
use super::requests::requests_by_kind;
use super::{Concludes, Deletions, MirrorEnding, Output, OutputOptions, Presenter, Watch};
use crate::model::{
    Difference, Durability, Event, Finding, Observer, Outcome, Progress, Totals, Verdict,
};
use std::sync::Arc;
use std::time::Duration;

/// What to show to a person.
#[derive(Clone, Copy, Debug, Default)]
pub struct HumanOptions {
    /// Only failures.
    pub quiet: bool,
    /// A line for each change.
    pub verbose: bool,
    /// Whether it is a dry run: each change is a line, unless quiet.
    pub dry_run: bool,
    /// How progress is shown.
    pub progress: ProgressStyle,
    /// How output looks.
    pub output: OutputOptions,
}

/// Presents a run to a person: what happens, and a summary at the end.
#[derive(Debug)]
pub struct HumanReport {
    pub(crate) options: HumanOptions,
    pub(crate) output: Arc<Output>,
    pub(crate) failures: Failures,
}

impl HumanReport {
    /// Makes the presenter.
    pub fn new(options: HumanOptions, output: Arc<Output>) -> Self {
        Self { options, output, failures: Failures::new(options.verbose) }
    }

    /// Returns whether to print a difference. They are what a verification looks for: quiet means
    /// to print nothing else.
    fn shows(&self, finding: &Finding) -> bool {
        let is_unknown = matches!(finding.difference, Difference::Unknown(_));
        finding.counted || self.options.verbose || is_unknown && !self.options.quiet
    }
}

impl Observer for HumanReport {
    fn observe(&self, event: &Event) {
        match event {
            Event::Started { .. } => {}
            Event::Changed(outcome) => {
                if (self.options.dry_run || self.options.verbose) && !self.options.quiet {
                    self.output.line(&change_line(outcome, self.options.dry_run));
                }
            }
            Event::NotKept { key, features } => {
                if self.options.verbose && !self.options.quiet {
                    self.output.line(&format!("{:<15}  {key}  ({features})", "not kept"));
                }
            }
            Event::Failed(error) => self.failures.report(&self.output, &flags::entry_error(error)),
            Event::Notice(notice) => self.output.notice(notice, self.options.quiet),
            // The command line ends the report, with the exit code.
            Event::Refused(error) => self.output.error(error),
            Event::Difference(finding) => {
                if self.shows(finding) {
                    self.output.line(&finding.to_string());
                }
            }
            Event::Mended { key } => self.output.line(&format!("mended {key}")),
            Event::NotMended { key, cause } => {
                let text = format!("cannot repair \"{key}\": {}", flags::cause(cause));
                self.failures.report(&self.output, &text);
            }
            Event::SideDifference(finding) => self.output.line(&side_difference(finding)),
            Event::SideFailed { which, error } => {
                let (verb, cause) = (error.operation.verb(), flags::cause(&error.cause));
                let text = format!("cannot {verb} \"{}\" in {which}: {cause}", error.key);
                self.failures.report(&self.output, &text);
            }
            Event::SideNotice { which, notice } => {
                if !self.options.quiet {
                    let text = format!("in {which}: {}", flags::notice(notice));
                    self.output.message("note", &text);
                }
            }
        }
    }

    fn wants_changes(&self) -> bool {
        self.options.dry_run || (self.options.verbose && !self.options.quiet)
    }
}

impl Presenter for HumanReport {
    fn interval(&self) -> Option<Duration> {
        Some(self.options.progress.interval())
    }

    /// Lets lines out that are held back.
    fn tick(&self, _at: Duration, _progress: &Progress, _watch: &Watch) {
        self.output.flush();
    }

    fn stopping(&self) {
        if !self.options.quiet {
            let text = "stopping: what is in flight is finished or discarded; \
                        a second signal ends at once";
            self.output.message("note", text);
        }
    }
}

impl Concludes<MirrorEnding> for HumanReport {
    fn finish(&self, ending: &MirrorEnding, watch: &Watch) {
        if let Some(refusal) = ending.refusal.as_ref().filter(|_| !watch.refused()) {
            self.output.error(refusal);
        }
        let nothing_happened = ending.error.is_some() && ending.totals.entries == 0;
        if !nothing_happened {
            let lines = summary(ending, watch, &self.failures);
            if self.options.quiet {
                self.failures.report_unprinted(&self.output);
                // A limit that was asked for is no surprise.
                let is_told = ending.error.is_some() || ending.limit.is_some();
                if ending.verdict == Verdict::Interrupted && !is_told {
                    self.output.message("error", &verdict_line(ending));
                }
            } else {
                for line in &lines {
                    self.output.line(line);
                }
            }
        }
        self.output.flush();
        if let Some(error) = ending.error.as_ref().or(ending.unpublished.as_ref()) {
            self.output.error(error);
        }
        self.output.flush();
    }
}

/// Formats the line of a change: `copy             a/b  (new)`.
fn change_line(outcome: &Outcome, dry_run: bool) -> String {
    let (word, key, reason) =
        (outcome.word(), &outcome.key, flags::reason(outcome.decision.reason));
    let is_open = dry_run && outcome.decision.action.is_conditional();
    let follows = match &outcome.from {
        Some(from) => format!(" from {from}"),
        None if is_open => "; copy if content differs".to_owned(),
        None => String::new(),
    };
    // The longest word is `update metadata`.
    format!("{word:<15}  {key}  ({reason}{follows})")
}

/// Formats the note on why deletions wait, with a hint.
fn waiting(ending: &MirrorEnding) -> String {
    let hint = match ending.deletions {
        Deletions::UnlessCopiesFail => {
            "--delete-despite-errors deletes all but what a failed copy collided with"
        }
        Deletions::None | Deletions::DespiteErrors => "mend or exclude what failed, and run again",
    };
    format!(
        "note: deletions wait for a run in which no copy fails, since what only the target has may be \
         the last copy of what failed; {hint}"
    )
}

/// Returns the lines of the summary.
fn summary(ending: &MirrorEnding, watch: &Watch, failures: &Failures) -> Vec<String> {
    let (source, target) = watch.sides().unwrap_or((&ending.source, &ending.target));
    let verb = if ending.dry_run { "would mirror" } else { "mirrored" };
    let mut lines = vec![format!("{verb} {source} -> {target}")];
    let mut rows = if ending.dry_run { would_rows(watch, ending) } else { done_rows(ending) };
    rows.extend(requests_by_kind(&ending.totals).map(|requests| ("requests", requests)));
    for (label, value) in rows {
        lines.push(format!("  {label:<18}{value}"));
    }
    lines.push(figures(ending));
    lines.extend(failures.unprinted());
    let totals = &ending.totals;
    if totals.file_deletions_waiting + totals.directory_deletions_waiting > 0 {
        lines.push(waiting(ending));
    }
    if ending.totals.adopted_without_digest > 0 && !ending.dry_run {
        lines.push(
            "note: adopted files have no digest yet, nothing proves their content; \
             --checksum compares it"
                .into(),
        );
    }
    if ending.durability == Durability::None && ending.totals.changed_anything() && !ending.dry_run
    {
        lines
            .push("note: --durability none: a power cut now may still lose what was copied".into());
    }
    lines.push(verdict_line(ending));
    lines
}

/// Returns what a run did. Zero counts are left out, but for files copied and unchanged.
fn done_rows(ending: &MirrorEnding) -> Vec<(&'static str, String)> {
    let totals = &ending.totals;
    let files = |number| counted(number, "file", "files");
    let copied = files_and_links(totals.files_copied, totals.links_copied, totals.bytes_copied);
    let unchanged = files_and_links(totals.files_unchanged, totals.links_unchanged, None);
    let mut rows = vec![("copied", copied)];
    if totals.hard_links_made > 0 {
        rows.push(("hard-linked", counted(totals.hard_links_made, "name", "names")));
    }
    let Totals { files_renamed, directories_renamed, .. } = *totals;
    if files_renamed + directories_renamed > 0 {
        rows.push(("renamed", kinds(files_renamed, 0, directories_renamed)));
    }
    rows.push(("unchanged", unchanged));
    let mut add = |number: u64, label, value: String| {
        if number > 0 {
            rows.push((label, value));
        }
    };
    let besides = totals.bytes_hashed.saturating_sub(totals.bytes_copied);
    add(besides, "hashed besides", size(besides));
    let adopted = files_and_links(totals.files_adopted, totals.links_adopted, None);
    add(totals.files_adopted, "adopted", adopted);
    let known = format!("{} of these, source not read", count(totals.known_by_digest));
    add(totals.known_by_digest, "known by digest", known);
    add(totals.adoption_files, "cost of adopting", adoption_cost(totals));
    add(totals.files_skipped, "left alone", kinds(totals.files_skipped, totals.links_skipped, 0));
    add(
        totals.metadata_updated,
        "metadata updated",
        counted(totals.metadata_updated, "entry", "entries"),
    );
    add(totals.directories_created, "directories made", count(totals.directories_created));
    for (label, leaves, links, directories) in [
        ("deleted", totals.files_deleted, totals.links_deleted, totals.directories_deleted),
        (
            "deletions waiting",
            totals.file_deletions_waiting,
            totals.link_deletions_waiting,
            totals.directory_deletions_waiting,
        ),
    ] {
        add(leaves + directories, label, kinds(leaves, links, directories));
    }
    add(totals.leftovers_swept, "leftovers swept", files(totals.leftovers_swept));
    let lost = lost(totals);
    add(lost.len() as u64, "not kept", lost.join(", "));
    let apart = totals.attributes_kept_apart;
    let entries = counted(apart, "entry", "entries");
    add(apart, "in manifest", format!("attributes of {entries}"));
    add(totals.files_failed, "failed", counted(totals.files_failed, "entry", "entries"));
    rows
}

/// Formats the number of regular files, their bytes, and the number of symbolic links.
fn files_and_links(all: u64, links: u64, bytes: impl Into<Option<u64>>) -> String {
    let mut text = counted(all.saturating_sub(links), "file", "files");
    if let Some(bytes) = bytes.into() {
        text.extend([", ", &size(bytes)]);
    }
    if links > 0 {
        text.extend([", ", &counted(links, "link", "links")]);
    }
    text
}

/// Formats the features that copies lack.
fn lost(totals: &Totals) -> Vec<String> {
    [
        (totals.hard_links_lost, "hard links of", "name", "names"),
        (totals.holes_lost, "holes of", "file", "files"),
        (totals.attributes_lost, "extended attributes of", "entry", "entries"),
        (totals.acls_lost, "ACLs of", "entry", "entries"),
        (totals.attributes_unread, "attributes that could not be read of", "entry", "entries"),
    ]
    .into_iter()
    .filter(|(number, ..)| *number > 0)
    .map(|(number, what, one, many)| format!("{what} {}", counted(number, one, many)))
    .collect()
}

/// Formats the cost of deciding what to adopt, which occurs only once, since the next run has rows.
fn adoption_cost(totals: &Totals) -> String {
    let looks = counted(totals.adoption_files, "file looked at", "files looked at");
    let worked = duration(Duration::from_micros(totals.adoption_worker_us));
    match totals.adoption_bytes {
        0 => format!("{looks}, {worked} of work"),
        bytes => format!("{looks}, {} hashed, {worked} of work", size(bytes)),
    }
}

/// Returns what a run would do.
fn would_rows(watch: &Watch, ending: &MirrorEnding) -> Vec<(&'static str, String)> {
    let would = watch.would();
    let files = |number| counted(number, "file", "files");
    let all = would.copy + would.make_link;
    let mut rows = vec![("copy", files_and_links(all, would.make_link, would.copy_bytes))];
    for (number, label, value) in [
        (would.link, "hard-link", counted(would.link, "name", "names")),
        (would.rename, "rename", {
            kinds(would.rename - would.rename_directories, 0, would.rename_directories)
        }),
        (would.check, "check content of", files(would.check)),
        (would.adopt, "adopt", kinds(would.adopt, would.adopt_links, 0)),
        (would.update_metadata, "update metadata", {
            counted(would.update_metadata, "entry", "entries")
        }),
        (would.make_directory, "make", counted(would.make_directory, "directory", "directories")),
        (would.delete, "delete", {
            let directories = would.delete_directories;
            kinds(would.delete - directories, would.delete_links, directories)
        }),
        (would.delete_later, "delete later", {
            let directories = would.delete_later_directories;
            kinds(would.delete_later - directories, would.delete_later_links, directories)
        }),
        (would.delete_refused, "delete refused", {
            let directories = would.delete_refused_directories;
            kinds(would.delete_refused - directories, would.delete_refused_links, directories)
        }),
        (would.sweep, "sweep", counted(would.sweep, "leftover", "leftovers")),
        (would.keep, "keep", counted(would.keep, "entry", "entries")),
    ] {
        if number > 0 {
            rows.push((label, value));
        }
    }
    let totals = &ending.totals;
    let unchanged = files_and_links(totals.files_unchanged, totals.links_unchanged, None);
    rows.push(("leave unchanged", unchanged));
    if totals.files_failed > 0 {
        rows.push(("failed", counted(totals.files_failed, "entry", "entries")));
    }
    rows
}

/// Formats time T, speed S and error rate E; a dry run has no speed.
fn figures(ending: &MirrorEnding) -> String {
    let totals = &ending.totals;
    let mut line = format!("time {}", duration(ending.duration));
    if !ending.dry_run {
        line.extend([", speed ", &speed(totals.throughput(ending.duration))]);
    }
    line.extend([", ", &error_rate(totals.files_failed, totals.entries)]);
    line
}

fn verdict_line(ending: &MirrorEnding) -> String {
    let meaning = match ending.verdict {
        Verdict::Complete if ending.dry_run => return "dry run: nothing was changed".into(),
        Verdict::Complete => return "complete".into(),
        Verdict::Incomplete => "some entries failed, the rest is done",
        Verdict::Refused => "what was refused was not done, finished copies remain",
        Verdict::Interrupted => match ending.limit {
            Some(limit) => {
                return format!("{}: {}; run it again to go on", ending.verdict, limit.say());
            }
            None => "run it again to go on",
        },
        Verdict::Failed if ending.unpublished.is_some() => {
            "the copies are finished, but their manifest is not published"
        }
        Verdict::Failed => "the run stopped before its end",
    };
    if ending.dry_run {
        format!("dry run: nothing was changed; {}", ending.verdict)
    } else {
        format!("{}: {meaning}", ending.verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Action, Key, Reason};
    use crate::model::{EntryKind, Error, ErrorKind, RunId};

    const COPY: Action = Action::Copy { unless: None };

    fn ending(totals: &Totals, verdict: Verdict) -> MirrorEnding {
        let ending = MirrorEnding::new("s".into(), "t".into(), *totals);
        MirrorEnding { verdict, duration: Duration::from_secs(2), ..ending }
    }

    #[test]
    fn the_hint_for_waiting_deletions_depends_on_the_options() {
        let totals = Totals { file_deletions_waiting: 1, ..Totals::default() };
        let note = |deletions| {
            let ending = MirrorEnding { deletions, ..ending(&totals, Verdict::Incomplete) };
            let lines = summary(&ending, &Watch::default(), &Failures::new(false));
            lines.into_iter().find(|line| line.starts_with("note: deletions wait")).unwrap()
        };
        let forced = note(Deletions::UnlessCopiesFail);
        assert!(forced.contains("; --delete-despite-errors deletes"), "{forced}");
        for deletions in [Deletions::None, Deletions::DespiteErrors] {
            let note = note(deletions);
            assert!(note.ends_with("; mend or exclude what failed, and run again"), "{note}");
        }
    }

    #[test]
    fn a_summary_says_what_was_done_and_leaves_out_zero_counts() {
        let totals = Totals {
            entries: 2000,
            files_copied: 1236,
            links_copied: 2,
            bytes_copied: 5 << 20,
            files_unchanged: 701,
            links_unchanged: 1,
            files_deleted: 3,
            links_deleted: 2,
            directories_deleted: 2,
            files_skipped: 1,
            links_skipped: 1,
            files_failed: 1,
            requests_list: 3,
            requests_retried: 1,
            ..Totals::default()
        };
        let failures = Failures::new(false);
        let lines = summary(&ending(&totals, Verdict::Incomplete), &Watch::default(), &failures);
        assert_eq!(
            lines,
            [
                "mirrored s -> t",
                "  copied            1,234 files, 5.0 MiB, 2 links",
                "  unchanged         700 files, 1 link",
                "  left alone        1 link",
                "  deleted           1 file, 2 links, 2 directories",
                "  failed            1 entry",
                "  requests          3 list; 1 retried",
                "time 2.0 s, speed 2.5 MiB/s, error rate 0.05% (1 of 2,000 entries)",
                "incomplete: some entries failed, the rest is done",
            ]
        );
    }

    #[test]
    fn a_run_that_only_failed_to_publish_its_manifest_did_not_stop_before_its_end() {
        let (totals, error) = (Totals::default(), Error::new(ErrorKind::Unusable, "full").report());
        let failed = ending(&totals, Verdict::Failed);
        let stopped =
            MirrorEnding { error: Some(error.clone()), ..ending(&totals, Verdict::Failed) };
        assert_eq!(verdict_line(&stopped), "failed: the run stopped before its end");
        let unpublished = MirrorEnding { unpublished: Some(error), ..failed };
        let text = "failed: the copies are finished, but their manifest is not published";
        assert_eq!(verdict_line(&unpublished), text);
    }

    #[test]
    fn a_dry_run_counts_its_changes_and_says_that_nothing_was_changed() {
        let mut watch = Watch::default();
        let run = RunId("r".into());
        let (source, target) = ("/s".to_owned(), "/t".to_owned());
        watch.observe(&Event::Started { run, source, target, dry_run: true, previous: None });
        let key = Key::new(*b"a");
        let (file, link) = (Some(EntryKind::File), Some(EntryKind::Symlink));
        let directory = Some(EntryKind::Directory);
        for (action, kind) in [
            (COPY, file),
            (COPY, file),
            (Action::Look, file),
            (Action::Adopt, link),
            (Action::Delete, file),
            (Action::Delete, link),
            (Action::Delete, directory),
        ] {
            let outcome = Outcome::new(&key, kind, action, Reason::New).moving(1024);
            watch.observe(&Event::Changed(outcome));
        }
        let totals = Totals::default();
        let ending = MirrorEnding { dry_run: true, ..ending(&totals, Verdict::Complete) };
        let lines = summary(&ending, &watch, &Failures::new(false));
        assert_eq!(lines[0], "would mirror /s -> /t");
        assert_eq!(lines[1], "  copy              2 files, 2.0 KiB");
        assert_eq!(lines[2], "  check content of  1 file");
        assert_eq!(lines[3], "  adopt             1 link");
        assert_eq!(lines[4], "  delete            1 file, 1 link, 1 directory");
        assert_eq!(lines.last().unwrap(), "dry run: nothing was changed");
        assert!(watch.would_change());
    }

    #[test]
    fn a_dry_run_marks_changes_that_depend_on_content_as_conditional() {
        let key = Key::new(*b"a/b");
        let line = |action| change_line(&Outcome::new(&key, None, action, Reason::New), true);
        assert_eq!(line(Action::Look), "check            a/b  (new; copy if content differs)");
        assert_eq!(line(COPY), "copy             a/b  (new)");
    }

    #[test]
    fn the_cost_of_adopting_is_shown_if_a_store_was_queried() {
        let line = |totals: Totals| {
            let lines = summary(
                &ending(&totals, Verdict::Complete),
                &Watch::default(),
                &Failures::new(false),
            );
            lines.into_iter().find(|line| line.contains("cost of adopting"))
        };
        // Listings of two local sides have all that is needed.
        let totals = Totals { files_adopted: 9, ..Totals::default() };
        assert_eq!(line(totals), None);
        let totals = Totals { adoption_files: 9, adoption_worker_us: 35_400, ..totals };
        assert_eq!(line(totals).unwrap(), "  cost of adopting  9 files looked at, 35 ms of work");
        let totals = Totals { adoption_bytes: 1 << 20, ..totals };
        let text = "  cost of adopting  9 files looked at, 1.0 MiB hashed, 35 ms of work";
        assert_eq!(line(totals).unwrap(), text);
    }

    #[test]
    fn durability_none_and_adopted_files_are_noted() {
        let totals = Totals {
            files_adopted: 1,
            adopted_without_digest: 1,
            files_copied: 1,
            ..Totals::default()
        };
        let ending =
            MirrorEnding { durability: Durability::None, ..ending(&totals, Verdict::Complete) };
        let text = summary(&ending, &Watch::default(), &Failures::new(false)).join("\n");
        assert!(text.contains("no digest") && text.contains("--durability none"), "{text}");
    }
}
