/** Makes rows without a database, for measurements and tests. */
import type { StoredUser } from '../src/model/stored-user.js';
import type { User } from '../src/model/user.js';

const epochMs = Date.UTC(2000, 0, 1);

/** The row that Postgres would send for the user. Only the order of the attributes' keys may differ. */
export function storedUser(user: User): StoredUser {
  const text = (value: string) => Buffer.from(value);
  const integer = (value: number) => {
    const cell = Buffer.alloc(4);
    cell.writeInt32BE(value);
    return cell;
  };
  const time = (value: Date) => {
    const cell = Buffer.alloc(8);
    cell.writeBigInt64BE(BigInt(value.getTime() - epochMs) * 1000n);
    return cell;
  };
  const cells = [
    Buffer.from(user.id.replaceAll('-', ''), 'hex'),
    text(user.firstName),
    text(user.lastName),
    text(user.email),
    text(user.profileImageUrl),
    Buffer.concat([Buffer.from([1]), text(JSON.stringify(user.attributes))]),
    time(user.createTime),
    time(user.updateTime),
    integer(user.version),
  ];
  const around = Buffer.from('other bytes');
  const row = Buffer.concat(cells.flatMap((cell) => [integer(cell.length), cell]));
  return {
    bytes: Buffer.concat([around, row, around]),
    start: around.length,
    end: around.length + row.length,
  };
}
