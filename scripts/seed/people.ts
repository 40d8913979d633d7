/**
 * Makes people who do not exist. The same seed makes the same people in the same order, so a longer list begins with a shorter
 * one. All emails are different, and in domains that nobody can own.
 */
import { allFakers, type Faker } from '@faker-js/faker';
import anyAscii from 'any-ascii';
import { type Culture, cultures, departments } from './cultures.js';

export interface Person {
  readonly firstName: string;
  readonly lastName: string;
  readonly email: string;
  readonly attributes: Readonly<Record<string, string>>;
}

// RFC 2606 reserves them for examples.
const domains = ['example.com', 'example.org', 'example.net'];
// One person in eight manages others, until a department has this many managers.
const managersMax = 200;
const reportsOf = 8;

export function* makePeople(count: number, seed: number): Generator<Person> {
  const faker = allFakers.en;
  faker.seed(seed);
  const fakers = new Map(cultures.map(({ locale }, index) => [locale, fakerOf(locale, [seed, index])]));
  const namesakes = new Map<string, number>();
  const managers = new Map<string, string[]>();
  const weighted = cultures.map((value) => ({ value, weight: value.weight }));

  for (let made = 0; made < count; made++) {
    const culture = faker.helpers.weightedArrayElement(weighted);
    const local = fakers.get(culture.locale) ?? faker;
    const name = nameOf(culture, local);
    const mailbox = `${name.latin}@${faker.helpers.arrayElement(domains)}`;
    const namesake = (namesakes.get(mailbox) ?? 0) + 1;
    namesakes.set(mailbox, namesake);
    const email = namesake === 1 ? mailbox : mailbox.replace('@', `.${namesake}@`);

    const [department = '', titles = []] = faker.helpers.objectEntry(departments);
    const ofDepartment = managers.get(department) ?? [];
    managers.set(department, ofDepartment);
    const manager = ofDepartment.length === 0 ? undefined : faker.helpers.arrayElement(ofDepartment);
    const isManager =
      manager === undefined ||
      (ofDepartment.length < managersMax && faker.number.int({ min: 1, max: reportsOf }) === 1);
    if (isManager) ofDepartment.push(email);
    const leads = manager === undefined ? `Head of ${department}` : `${department} Manager`;
    const title = isManager ? leads : faker.helpers.arrayElement(titles);
    yield {
      firstName: name.first,
      lastName: name.last,
      email,
      attributes: {
        department,
        title,
        location: local.location.city(),
        country: culture.country,
        ...(manager !== undefined && { manager }),
      },
    };
  }
}

/** Each culture has a seed of its own, because cultures with a common language would otherwise have the same people. */
function fakerOf(locale: string, seed: number[]): Faker {
  const faker = (allFakers as Readonly<Record<string, Faker>>)[locale];
  if (faker === undefined) throw new Error(`Faker has no locale ${locale}.`);
  faker.seed(seed);
  return faker;
}

/** `latin` is the part of an email before the @. */
function nameOf({ names }: Culture, faker: Faker): { first: string; last: string; latin: string } {
  if (names !== undefined) {
    const [first, firstLatin] = faker.helpers.arrayElement(names.first);
    const [last, lastLatin] = faker.helpers.arrayElement(names.last);
    return { first, last, latin: `${firstLatin}.${lastLatin}` };
  }
  // Surnames have two forms in some languages.
  const sex = faker.person.sexType();
  const [first, last] = [repaired(faker.person.firstName(sex)), repaired(faker.person.lastName(sex))];
  return { first, last, latin: `${inLatin(first)}.${inLatin(last)}` };
}

/** Faker has a Dutch name, Ömer, whose UTF-8 was read as Latin-1. The result has a control character, which users must not have. */
function repaired(name: string): string {
  return /\p{Cc}/u.test(name) ? Buffer.from(name, 'latin1').toString('utf8') : name;
}

function inLatin(name: string): string {
  const latin = anyAscii(name).toLowerCase().replaceAll(/['`]/g, '');
  return latin.replaceAll(/[^a-z0-9]+/g, '-').replaceAll(/^-|-$/g, '');
}
