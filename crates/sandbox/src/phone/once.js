// Reading again what may have changed, without doing so for every single change.

const pauseMs = 150;

/**
 * `work`, at most once at a time. Whoever asks while it runs waits for one more run, which begins after they asked: so
 * what they did before is surely seen, and a storm of events costs two runs, not a thousand.
 */
export function oneAtATime(work) {
  let running = null;
  let again = false;
  const run = async () => {
    try {
      do {
        again = false;
        await work();
        if (again) await new Promise((resume) => setTimeout(resume, pauseMs));
      } while (again);
    } finally {
      // In the same step as the last look at `again`: nobody can ask between the two and wait for a run that never comes.
      running = null;
    }
  };
  return () => {
    again = running !== null;
    running ??= run();
    return running;
  };
}
