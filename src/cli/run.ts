/** Runs the command line, from its arguments to its exit code. Each command has its own file. */
import { Command, CommanderError } from 'commander';
import { packageVersion } from '../config/package-root.js';
import { createCertCommand } from './cert.js';
import { createChangesCommand } from './changes.js';
import { addClientFlags, type Context } from './client-command.js';
import { createCompletionCommand } from './completion.js';
import { createContextCommand } from './context.js';
import { createCountCommand } from './count.js';
import { createCreateCommand } from './create.js';
import { createDeleteCommand } from './delete.js';
import { createEditCommand } from './edit.js';
import { createErasureCheckCommand } from './erasure-check.js';
import { createExportCommand } from './export.js';
import { exitCodeOf, exitCodes, exitCodesHelp } from './failure.js';
import { createGatewayCommand } from './gateway.js';
import { createGetCommand } from './get.js';
import { createHealthCommand } from './health.js';
import { createImportCommand } from './import.js';
import { createIndexesCommand } from './indexes.js';
import { createKeyCommand } from './key.js';
import { createListCommand } from './list.js';
import { createMigrateCommand } from './migrate.js';
import { requireNpmFlags, withNpmAdvice } from './npm-flags.js';
import { reportFailure } from './report-failure.js';
import { createServeCommand } from './serve.js';
import { createStyles } from './style.js';
import { Interrupted, OutputClosed, type Terminal } from './terminal.js';
import { createTokenCommand } from './token.js';
import { createUpdateCommand } from './update.js';
import { createWatchCommand } from './watch.js';
import { createWhoamiCommand } from './whoami.js';

/** Resolves with the exit code and never rejects. Only a second Ctrl-C ends the process here. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  // print() handles the error of a failed write. Without a listener, the stream's error event would end the process.
  const ignore = () => {};
  for (const stream of [terminal.stdout, terminal.stderr]) stream.on('error', ignore);
  const stop = new AbortController();
  let kill: () => void = ignore;
  let ignoresCtrlC = false;
  const interrupt = (signal: NodeJS.Signals) => {
    if (ignoresCtrlC && signal === 'SIGINT') return;
    const reason = new Interrupted(signal);
    if (stop.signal.aborted) {
      kill();
      terminal.exit(reason.exitCode);
    }
    stop.abort(reason);
  };
  for (const signal of ['SIGINT', 'SIGTERM']) terminal.signals.on(signal, interrupt);

  const styles = createStyles(terminal, args);
  const context: Context = {
    terminal,
    styles,
    signal: stop.signal,
    onKill: (callback) => {
      kill = callback;
    },
    ignoreCtrlC: () => {
      ignoresCtrlC = true;
      return {
        [Symbol.dispose]: () => {
          ignoresCtrlC = false;
        },
      };
    },
  };
  try {
    requireNpmFlags(terminal.env);
    await createProgram(context).parseAsync(args, { from: 'user' });
    return exitCodes.done;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.done;
    if (error instanceof OutputClosed) return exitCodes.done;
    if (!isReported(error)) {
      await reportFailure(withNpmAdvice(error, terminal.env), args, { terminal, styles }).catch(ignore);
    }
    return exitCodeOf(error);
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM']) terminal.signals.off(signal, interrupt);
  }
}

/** Help for a missing command is already printed, and an interruption needs no message. */
function isReported(error: unknown): boolean {
  return error instanceof Interrupted || (error instanceof CommanderError && error.code === 'commander.help');
}

function createProgram(context: Context): Command {
  const program: Command = new Command('roster')
    .description('A user directory as a service.')
    .version(packageVersion())
    .addHelpText('after', `\n${exitCodesHelp}`)
    .showSuggestionAfterError();
  const clientCommands = [
    createCreateCommand(context),
    createGetCommand(context),
    createChangesCommand(context),
    createUpdateCommand(context),
    createEditCommand(context),
    createDeleteCommand(context),
    createListCommand(context),
    createCountCommand(context),
    createImportCommand(context),
    createExportCommand(context),
    createWatchCommand(context),
    createHealthCommand(context),
    createWhoamiCommand(context),
  ];
  for (const command of clientCommands) addClientFlags(command);
  const commands = [
    createServeCommand(context),
    createMigrateCommand(context),
    createIndexesCommand(context),
    createKeyCommand(context),
    createErasureCheckCommand(context),
    createGatewayCommand(context),
    ...clientCommands,
    createContextCommand(context),
    createTokenCommand(context),
    createCertCommand(context),
    createCompletionCommand(context, () => program),
  ];
  for (const command of commands) program.addCommand(command);
  configure(program, context);
  return program;
}

/** Configures a command and its subcommands. */
function configure(command: Command, context: Context): void {
  const { terminal, styles } = context;
  const { stdout, stderr } = terminal;
  command
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      getOutHelpWidth: () => stdout.columns || 100,
      // The styles know whether the output has colors.
      getOutHasColors: () => true,
      getErrHasColors: () => true,
      // run() writes errors, as text or as JSON.
      outputError: () => {},
    })
    .configureHelp({ ...command.configureHelp(), styleTitle: (title) => styles.stdout('bold', title) });
  for (const subcommand of command.commands) configure(subcommand, context);
}
