/** Writes why a command failed: as text, as JSON, or as lines of the log if the command has a log in JSON. */
import type { Context } from './client-command.js';
import { CommandFailure, describeFailure, exitCodeOf, exitCodes, failureTexts } from './failure.js';
import { wantsJson } from './output.js';
import { print, type Terminal } from './terminal.js';

/** Where the commands that have a log write it. The standard output of the others has only their results. */
const logStreams: Readonly<Record<string, 'stdout' | 'stderr'>> = {
  serve: 'stdout',
  gateway: 'stdout',
  migrate: 'stderr',
  indexes: 'stderr',
  key: 'stderr',
  'erasure-check': 'stderr',
};

export async function reportFailure(
  error: unknown,
  args: readonly string[],
  { terminal, styles }: Pick<Context, 'terminal' | 'styles'>,
): Promise<void> {
  const stream = logStreams[args[0] ?? ''];
  const isLogged = stream !== undefined && writesJson(args, terminal.env, terminal[stream].isTTY);
  if (isLogged) await print(terminal[stream], await logLines(error));
  // If only the log is redirected, the user at the terminal must see the failure too.
  if (isLogged && (stream === 'stderr' || !terminal.stderr.isTTY)) return;
  const text = describeFailure(error, wantsJson(args));
  await print(
    terminal.stderr,
    text.replace(/^error:/gm, (label) => styles.stderr('red', label)),
  );
}

/** Reads the setting without its parser, because the failure may be about the settings. */
function writesJson(args: readonly string[], env: Terminal['env'], isTTY = false): boolean {
  const at = args.findIndex((arg) => arg === '--log-format' || arg.startsWith('--log-format='));
  const flag = args[at]?.split('=')[1] ?? args[at + 1];
  const format = (at < 0 ? env.LOG_FORMAT : flag)?.trim().toLowerCase();
  return format === 'json' || (format !== 'pretty' && !isTTY);
}

async function logLines(error: unknown): Promise<string> {
  // Imported here, so that client commands do not load it.
  const { createLog } = await import('../telemetry/log.js');
  const lines: string[] = [];
  // A failed start is logged at every level, even at `silent`: it is the only line of that process.
  const log = createLog({ level: 'fatal', format: 'json', destination: { write: (line) => void lines.push(line) } });
  const exitCode = exitCodeOf(error);
  // The texts of these errors say everything. Other failures may be bugs, which need the stack.
  const isExpected = exitCode === exitCodes.usage || error instanceof CommandFailure;
  const fields = isExpected ? { exitCode } : { exitCode, error };
  for (const text of failureTexts(error)) log.fatal(fields, text);
  return lines.join('');
}
