/** The great-circle distance between two points on a sphere. */
import type { Point } from './generated/route_guide.ts';

// The Earth's mean radius R1, (2a + b) / 3, of the ellipsoid GRS 80 (H. Moritz, Geodetic Reference System 1980). The error
// of the sphere is up to about half a percent.
const radiusMetres = 6_371_008.8;

const radians = (e7: number) => (e7 / 1e7) * (Math.PI / 180);

/** Uses the haversine formula, which is exact for close points (R. W. Sinnott, Virtues of the Haversine, Sky and Telescope 68, 1984). */
export function metresBetween(from: Point, to: Point): number {
  const halfLatitude = radians(to.Latitude - from.Latitude) / 2;
  const halfLongitude = radians(to.Longitude - from.Longitude) / 2;
  const haversine =
    Math.sin(halfLatitude) ** 2 +
    Math.cos(radians(from.Latitude)) * Math.cos(radians(to.Latitude)) * Math.sin(halfLongitude) ** 2;
  // For opposite points, rounding may give a value above 1, which has no arcsine.
  return 2 * radiusMetres * Math.asin(Math.sqrt(Math.min(1, haversine)));
}
