'use strict';
module.exports = async (query) => {
  const locale = query.get('locale') || 'en';
  const timeZone = query.get('zone') || 'UTC';
  const day = new Date(Date.UTC(2024, 1, 29, 12));
  return {
    day: new Intl.DateTimeFormat(locale, { dateStyle: 'full', timeStyle: 'long', timeZone }).format(day),
    number: new Intl.NumberFormat(locale, { style: 'currency', currency: 'EUR' }).format(1234567.891),
    sorted: ['z', 'č', 'c', 'ä', 'a'].sort(new Intl.Collator(locale).compare),
    plural: new Intl.PluralRules(locale).select(3),
    here: new Date(2024, 6, 1).toString(),
  };
};
