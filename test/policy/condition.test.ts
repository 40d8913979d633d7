import { describe, expect, it } from 'vitest';
import { compileCondition } from '../../src/policy/condition.js';

const caller = {
  actor: 'corp:4711',
  roles: new Set(['writer', 'reader']),
  claims: { groups: ['sales', 'emea'], level: 3, org: { unit: 'a b' } },
};
const ada = {
  firstName: 'Ada',
  email: 'ada@example.com',
  attributes: { department: 'sales', level: 3, tags: ['vip'], 'cost center': 7, address: { city: 'Bern' } },
};
const request = { id: '01890A5D-AC96-774B-BCCE-B302099A8057', user: ada, updateMask: ['email'], pageSize: 10 };

const holds = (text: string, user: unknown = ada) =>
  compileCondition(text).bind(caller).holds({ method: 'UpdateUser', request, user });

describe('a condition', () => {
  it.each([
    ['user.attributes.department == "sales"'],
    ['user.attributes.department in ["sales", "ops"]'],
    ['user["attributes"]["cost center"] == 7'],
    ['user.attributes.address.city == "Bern" && user.attributes.level >= 3'],
    ['"vip" in user.attributes.tags && size(user.attributes.tags) == 1'],
    ['!has(user.attributes.retired)'],
    ['user.email.endsWith("@example.com") && user.first_name < "B"'],
    ['"sales" in caller.claims.groups && caller.claims.org.unit == "a b" && caller.claims.level > 2'],
    ['"reader" in caller.roles && caller.actor.startsWith("corp:")'],
    ['method == "UpdateUser" && method in ["UpdateUser", "GetUser"]'],
    ['"email" in request.update_mask && request.page_size <= 10 && !has(request.filter)'],
    ['request.user.attributes.department == user.attributes.department'],
    // Requests may write ids in upper case.
    ['request.id == "01890a5d-ac96-774b-bcce-b302099a8057"'],
    ['user.email == "ada@" + "example.com" // a comment'],
    ['user.attributes.missing == 1 || true'],
  ])('holds: %s', (text) => {
    expect(holds(text)).toBe(true);
  });

  it.each([
    ['user.attributes.department == "ops"'],
    // It fails, because the value is missing or has another type.
    ['user.attributes.missing == "x"'],
    ['!(user.attributes.missing == "x")'],
    ['user.attributes.department > 3'],
    ['!user.attributes.department'],
    ['user.attributes.department'],
    ['caller.claims.missing.deeper == "x"'],
    ['request.filter == ""'],
    ['user.attributes.level.startsWith("3")'],
  ])('does not hold: %s', (text) => {
    expect(holds(text)).toBe(false);
  });

  it('does not hold without the user that it reads', () => {
    expect(holds('!has(user.attributes.department)', null)).toBe(true);
    for (const text of ['!has(user.attributes.department)', '!has(user.email)', 'user.email == "" || true']) {
      expect(compileCondition(text).bind(caller).holds({ method: 'ListUsers', request })).toBe(false);
    }
  });

  it.each([
    ['user.attributes.x == "y"'],
    ['user.attributes.x == user.attributes.y'],
    ['"a" in user.attributes.x'],
    ['has(user.attributes.x.y)'],
  ])('does not hold for attributes that look like something else: %s', (text) => {
    for (const x of [
      { $typeName: 'google.protobuf.Any', typeUrl: 'a', value: 'b' },
      { constructor: { name: 'Object' } },
      { constructor: null },
      JSON.parse('{"__proto__": {"y": 1}}'),
      null,
      [],
      [[[]]],
      1e308,
      '',
    ]) {
      expect(holds(text, { attributes: { x } })).toBe(false);
    }
  });

  it('knows what it reads', () => {
    expect(compileCondition('has(user.email)').readsUser).toBe(true);
    expect(compileCondition('has(request.user.email) && "x" == "user"').readsUser).toBe(false);
  });
});

describe('a condition of the file', () => {
  it.each([
    ['user.attributes.department = "sales"', 'must be a CEL expression'],
    ['department == "sales"', 'must name caller, method, request or user; strings need quotes (at character 1)'],
    ['user.name == "x"', 'must name one of user.first_name'],
    ['user.attributes == 3', 'must name one of user.first_name'],
    ['request.name == "x"', 'must name one of request.user.FIELD, request.id'],
    ['request.constructor == "x"', 'must name one of request.user.FIELD'],
    ['request.users == 3', 'must name one of request.user.FIELD'],
    ['caller.claims == 3', 'must name caller.actor, caller.roles or caller.claims.NAME'],
    ['user.email == 3', 'must not compare a string with a number (at character 15)'],
    ['user.email > true', 'must have numbers or strings on both sides of >'],
    ['user.email in ["a", 3]', 'must not compare a string with a number'],
    ['user.email && true', 'must have conditions on both sides of &&'],
    ['!user.email', 'must have a condition after !'],
    ['user.email', 'must be true or false'],
    ['"a" in "abc"', 'must have a list after "in"'],
    ['method == "UpdateUsers"', 'must compare method with one of GetCaller'],
    ['method in ["X"]', 'must compare method with one of GetCaller'],
    ['user.email.matches("a+")', 'must not use this operator or function'],
    ['matches(user.email, "a+")', 'must not use this operator or function'],
    ['caller.claims.groups.exists(g, g == "x")', 'must not use all, exists, filter or map'],
    ['user.attributes.tags.all(t, t == "x")', 'must not use all, exists, filter or map'],
    ['{"a": 1} == 3', 'must be a condition'],
    ['b"a" == b"a"', 'must have only strings, numbers, true, false and null'],
    ['user.attributes[user.email] == 3', 'must have a string in brackets'],
    ['user.attributes.a.contains(user.attributes.b)', 'must not look for a value of user or request with contains'],
    ['"x".contains("a" + request.user.email)', 'must not look for a value of user or request with contains'],
    [`${'('.repeat(33)}true${')'.repeat(33)}`, 'must have at most 32 levels of nesting'],
    ['!'.repeat(33), 'must have at most 32 levels of nesting'],
    [`true || ${'a'.repeat(2041)}`, 'must have at most 2048 characters'],
    ['"\\q" == "q"', 'must not have an invalid escape in a string'],
  ])('is refused: %.60s', (text, problem) => {
    expect(() => compileCondition(text)).toThrow(problem);
  });

  it('may be as long as the limit', () => {
    const chain = `${'true && '.repeat(255)}true`;
    expect(holds(chain)).toBe(true);
    expect(holds(`${'"a"'}${' + ""'.repeat(400)} == "a"`)).toBe(true);
  });
});
