//! A command that is killed at system calls that change something, one after the other, and each time recovered: the target is
//! wholly as it was or wholly as it should be, and the command can be run again. The suite takes a sample of the calls;
//! `KBPACK_CAMPAIGN=1` takes all.

use crate::crash::{copy, killed, leftovers, points};
use crate::support::{snapshot_but_times_of_folders, World};
use std::fmt::Debug;

/// Calls at which a recovery is killed in its turn.
const OF_RECOVERY: &str = "fdatasync,unlink,unlinkat,rename,renameat,renameat2,mkdir,pwrite64";

/// What is killed, and how what it leaves is seen.
pub struct Kills<'a, T> {
    pub world: &'a World,
    /// The command, of the target.
    pub args: &'a [&'a str],
    /// How many of the calls the suite takes.
    pub sample: usize,
    /// What is to be the old or the new one.
    pub state: &'a dyn Fn() -> T,
    /// What has to hold besides, whichever it is.
    pub sound: &'a dyn Fn(&str),
}

impl<T: PartialEq + Debug> Kills<'_, T> {
    /// How often it was the old state, and how often the new one.
    #[allow(clippy::print_stdout)] // for who runs a campaign
    pub fn run(&self) -> (usize, usize) {
        let target = &self.world.target;
        let old = (self.state)();
        let pristine = self.world.path("pristine");
        copy(&target.path, &pristine);
        let points = points(target, self.args, &self.world.path("calls"));
        let new = (self.state)();
        assert_ne!(old, new);
        let step = if all() { 1 } else { (points.len() / self.sample).max(1) };
        let (mut olds, mut news) = (0, 0);
        for (n, (call, nth)) in points.iter().enumerate().step_by(step) {
            copy(&pristine, &target.path);
            let code = killed(target, self.args, call, *nth).code;
            // And killed again in the middle of the recovery, every other time.
            if n / step % 2 == 0 {
                killed(target, &["recover", "-q"], OF_RECOVERY, 1 + n as u32 % 7);
            }
            target.kbpack(&["recover"]).ok();
            let point = format!("killed at {call} number {nth} (exit {code})");
            let rows = snapshot_but_times_of_folders(target);
            assert_eq!(leftovers(&rows), Vec::<&String>::new(), "{point}");
            let now = (self.state)();
            (self.sound)(&point);
            match (now == old, now == new) {
                (true, _) => olds += 1,
                (_, true) => news += 1,
                _ => panic!("{point}: neither the old nor the new state: {now:#?}"),
            }
            // What was cut off does not stand in the way; a rollback that was done has nothing more to do.
            if self.args[0] == "import" || now == old {
                target.kbpack(self.args).ok();
                assert_eq!((self.state)(), new, "{point}");
            }
        }
        println!("{} points, {olds} times the old state, {news} times the new one", points.len());
        assert!(olds > 0 && (news > 0 || !all()));
        (olds, news)
    }
}

/// Whether all points are to be taken.
pub fn all() -> bool {
    std::env::var_os("KBPACK_CAMPAIGN").is_some()
}
