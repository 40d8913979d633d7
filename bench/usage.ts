/** Reads CPU time and memory of process trees from /proc. Linux only; elsewhere every value is NaN. */
import { readdirSync, readFileSync } from 'node:fs';

interface ProcessUsage {
  readonly parent: number;
  /** Includes children that have exited. */
  readonly cpuMs: number;
  readonly residentMiB: number;
}

// Linux counts CPU time in ticks of 10 ms and memory in pages of 4 KiB. A few machines have larger pages.
const tickMs = 10;
const pageMiB = 4 / 1024;

function readProcesses(): Map<number, ProcessUsage> {
  const processes = new Map<number, ProcessUsage>();
  if (process.platform !== 'linux') return processes;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readText(`/proc/${name}/stat`);
    // The second field is the name in parentheses, which may contain any character.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // Numbered from 1, as in proc(5).
    const field = (number: number) => Number(fields[number - 3]);
    if (fields.length < 24) continue;
    const cpuMs = (field(14) + field(15) + field(16) + field(17)) * tickMs;
    processes.set(Number(name), { parent: field(4), cpuMs, residentMiB: field(24) * pageMiB });
  }
  return processes;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // The process has exited meanwhile.
    return '';
  }
}

function treeOf(processes: ReadonlyMap<number, ProcessUsage>, root: number): number[] {
  return [...processes.keys()].filter((pid) => {
    for (let at: number | undefined = pid; at !== undefined; at = processes.get(at)?.parent) {
      if (at === root) return true;
    }
    return false;
  });
}

/** A process and its descendants. */
export function processTree(root: number): number[] {
  return treeOf(readProcesses(), root);
}

export interface Usage {
  /** One value for each root, including its descendants. */
  readonly cpuMs: readonly number[];
  /** Of the whole machine. */
  readonly machineCpuMs: number;
}

/** The CPU time of process trees so far; NaN for a process that does not exist. */
export function readUsage(roots: readonly (number | undefined)[]): Usage {
  const processes = readProcesses();
  const cpuMs = roots.map((root) => {
    if (root === undefined || !processes.has(root)) return Number.NaN;
    return treeOf(processes, root).reduce((sum, pid) => sum + (processes.get(pid)?.cpuMs ?? 0), 0);
  });
  // user nice system idle iowait irq softirq steal
  const ticks = (readText('/proc/stat').split('\n')[0] ?? '').trim().split(/\s+/).slice(1, 9).map(Number);
  const busy = ticks.filter((_, index) => index !== 3 && index !== 4).reduce((sum, value) => sum + value, 0);
  return { cpuMs, machineCpuMs: ticks.length === 8 ? busy * tickMs : Number.NaN };
}

/** The current memory of a process and of each of its descendants, in MiB, largest first. */
export function residentMemory(root: number): number[] {
  const processes = readProcesses();
  return treeOf(processes, root)
    .map((pid) => processes.get(pid)?.residentMiB ?? Number.NaN)
    .toSorted((a, b) => b - a);
}

/** The peak memory of the largest process of a tree so far, in MiB. */
export function peakMemory(root: number): number {
  const peaks = processTree(root).map((pid) => {
    return Number(/VmHWM:\s+(\d+)/.exec(readText(`/proc/${pid}/status`))?.[1]) / 1024;
  });
  return peaks.length === 0 ? Number.NaN : Math.max(...peaks);
}

/** The postmaster of a Postgres backend; undefined if the backend runs on another machine. */
export function postmasterOf(backendPid: number): number | undefined {
  const status = readText(`/proc/${backendPid}/status`);
  return /^Name:\tpostgres$/m.test(status) ? Number(/^PPid:\t(\d+)$/m.exec(status)?.[1]) : undefined;
}
