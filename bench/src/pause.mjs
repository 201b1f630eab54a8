/**
 * Stops a process, and lets it go on after a while or as soon as the bench has ended, however it ended: a
 * stopped process could not see that for itself. Its one argument is JSON: `{ pid, seconds }`.
 */
const { pid, seconds } = JSON.parse(process.argv[2]);

function goOn() {
  try {
    process.kill(pid, 'SIGCONT');
  } catch (error) {
    // It was killed in its sleep.
    if (error.code !== 'ESRCH') throw error;
  }
  process.exit(0);
}

process.kill(pid, 'SIGSTOP');
setTimeout(goOn, seconds * 1000);
// The preload turns the end of the bench into SIGTERM; a terminal sends SIGINT to all of us.
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, goOn);
