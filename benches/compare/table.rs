//! What is printed: medians, and the medians of the rounds' ratios.

use super::loads::{Load, Run};

/// The runs of one load, by target and round.
pub(crate) struct Table {
    what: String,
    load: Load,
    names: Vec<String>,
    runs: Vec<Vec<Run>>,
    errors: u64,
    first_error: Option<String>,
}

impl Table {
    pub(crate) fn head() {
        println!("{:<28}{:>14}{:>14}{:>14}{:>8}", "", "HAProxy", "mqtt-bouncer", "direct", "ratio");
    }

    pub(crate) fn new(what: &str, load: Load, names: impl Iterator<Item = String>) -> Table {
        let names: Vec<_> = names.collect();
        let runs = names.iter().map(|_| Vec::new()).collect();
        Table { what: what.to_owned(), load, names, runs, errors: 0, first_error: None }
    }

    /// The run of the target at this place. One that does not count is only looked at for errors.
    pub(crate) fn add(&mut self, at: usize, run: Run, counts: bool) {
        self.errors += run.seen.errors;
        if let Some(error) = &run.seen.first_error {
            self.first_error.get_or_insert_with(|| format!("{}: {error}", self.names[at]));
        }
        if counts {
            self.runs[at].push(run);
        }
    }

    /// What this target's processor time has come to before its next turn.
    pub(crate) fn settle(&mut self, at: usize, price: f64) {
        if let Some(run) = self.runs[at].last_mut() {
            run.prices.1 = price;
        }
    }

    pub(crate) fn print(&mut self) {
        if self.names.iter().any(|name| name.contains(',')) {
            println!("{:<28}{}", "", self.names.join(" | "));
        }
        let unit = self.load.unit();
        self.figure(&format!("{unit}/s"), 0, |run| run.seen.done / run.seconds);
        let has_price = |run: &Run| run.prices.1 > 0.0;
        let priced: Vec<Vec<f64>> = self
            .runs
            .iter()
            .filter(|runs| runs.iter().any(has_price))
            .map(|runs| {
                runs.iter().map(|run| (run.prices.1 - run.prices.0) * 1e6 / price_base(run)).collect()
            })
            .collect();
        let one = match unit {
            "MB" => "MB",
            "messages" => "message",
            _ => "connection",
        };
        let asked = matches!(self.load, Load::Flooded { .. });
        if !asked {
            Table::line("", &format!("CPU µs/{one}"), &priced, 1);
        }
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            if self.runs.iter().flatten().all(|run| run.seen.delays.is_empty()) {
                break;
            }
            let values: Vec<Vec<f64>> = self
                .runs
                .iter_mut()
                .map(|runs| runs.iter_mut().map(|run| quantile(run, share)).collect())
                .collect();
            Table::line("", &format!("{name} µs"), &values, 0);
        }
        if asked {
            let values: Vec<Vec<f64>> = self
                .runs
                .iter()
                .map(|runs| runs.iter().map(|run| run.seen.turned_away as f64 / run.seconds).collect())
                .collect();
            Table::line("", "turned away/s", &values, 0);
        }
        Table::tell_errors(self.errors, self.first_error.as_deref());
    }

    fn figure(&self, unit: &str, digits: usize, of: impl Fn(&Run) -> f64) {
        let values: Vec<Vec<f64>> = self.runs.iter().map(|runs| runs.iter().map(&of).collect()).collect();
        Table::line(&self.what, unit, &values, digits);
    }

    /// Every target's median, and the median ratio of the second to the first.
    pub(crate) fn line(what: &str, unit: &str, values: &[Vec<f64>], digits: usize) {
        let mut line = format!("{what:<28}");
        for at in 0..3 {
            match values.get(at) {
                Some(values) => line += &format!("{:>14.digits$}", median(values.iter().copied())),
                None => line += &format!("{:>14}", ""),
            }
        }
        if let [first, others @ ..] = values {
            for other in others {
                let ratio = median(other.iter().zip(first).map(|(other, first)| other / first));
                line += &format!("{ratio:>8.2}");
            }
        }
        println!("{line}  {unit}");
    }

    /// A row with errors is no figure.
    pub(crate) fn tell_errors(errors: u64, first: Option<&str>) {
        if errors > 0 {
            println!("{:<28}NO FIGURE: {errors} errors; the first: {}", "", first.unwrap_or("?"));
        }
    }
}

fn price_base(run: &Run) -> f64 {
    run.seen.done.max(1.0)
}

fn quantile(run: &mut Run, share: f64) -> f64 {
    let delays = &mut run.seen.delays;
    if delays.is_empty() {
        return f64::NAN;
    }
    let at = (((delays.len() - 1) as f64) * share) as usize;
    let (_, found, _) = delays.select_nth_unstable_by(at, f32::total_cmp);
    f64::from(*found) * 1e6
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
