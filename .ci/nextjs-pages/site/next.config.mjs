/** @type {import('next').NextConfig} */
export default {
  // Next draws a new one at each build and writes it into every page; a site under review names its own.
  generateBuildId: () => process.env.BUILD_ID || null,
};
