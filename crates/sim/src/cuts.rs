//! A program cut before, in the middle of and after each of its storage operations, and every disk that may be left.

pub mod disk;

use disk::{Fault, Operation, Portion, TestDisk, until_cut};

/// What came of cutting a program everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cuts {
    /// What the program does to storage when it is not cut.
    pub operations: Vec<Operation>,
    /// How many ways there were to cut it, its end included.
    pub points: usize,
    /// How many disks these left in all.
    pub disks: usize,
    /// What `check` did not like, and after which cut.
    pub violations: Vec<String>,
}

impl Cuts {
    /// The numbers of the operations that make something durable.
    pub fn syncs(&self) -> impl Iterator<Item = usize> + '_ {
        self.operations.iter().enumerate().filter(|(_, operation)| operation.is_sync()).map(|(number, _)| number)
    }
}

/// Runs `program` on copies of `disk`, which it must use the same way each time, and cuts it once in each possible way.
/// `check` gets each disk that may be left: those after a loss of power, and the disk as it is where only the program was
/// killed. `swallowed` is a sync that says that it did, and did nothing.
pub fn cut_everywhere(
    disk: &TestDisk,
    swallowed: Option<usize>,
    program: impl Fn(TestDisk),
    mut check: impl FnMut(TestDisk) -> Result<(), String>,
) -> Cuts {
    let begin = |fault| {
        let disk = disk.fork(fault);
        swallowed.into_iter().for_each(|operation| disk.swallow(operation));
        disk
    };
    let whole = begin(Fault::None);
    program(whole.clone());
    let mut cuts = Cuts { operations: whole.done(), ..Cuts::default() };
    let mut look = |point: &str, disk: &TestDisk, cuts: &mut Cuts| {
        cuts.points += 1;
        for left in disk.survivors().into_iter().chain([disk.fork(Fault::None)]) {
            cuts.disks += 1;
            if let Err(why) = check(left.fork(Fault::None)) {
                cuts.violations.push(format!("{point}: {why}; the disk: {:?}", names_and_sizes(&left)));
            }
        }
    };
    // At once, so that `check` still sees what the program noted.
    look("after the end", &whole, &mut cuts);
    for (number, operation) in cuts.operations.clone().iter().enumerate() {
        let portions: &[Portion] = match operation {
            Operation::Write(_) => &Portion::EACH,
            Operation::Sync(_) | Operation::Rename(..) | Operation::SyncFolder | Operation::Remove(_) => {
                &[Portion::Nothing]
            }
        };
        for portion in portions {
            let cut = begin(Fault::Cut(number, *portion));
            let point = format!("cut at operation {number}, {operation:?}, {portion:?}");
            match until_cut(|| program(cut.clone())) {
                Err(_) => look(&point, &cut, &mut cuts),
                Ok(()) => cuts.violations.push(format!("{point}: the program did not come there")),
            }
        }
    }
    cuts
}

fn names_and_sizes(disk: &TestDisk) -> Vec<String> {
    disk.files().iter().map(|(name, content)| format!("{name} ({} bytes)", content.len())).collect()
}
