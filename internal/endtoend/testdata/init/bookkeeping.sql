CREATE TABLE mandanten (
  id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT,
  firma VARCHAR(120) NOT NULL
) CHARACTER SET utf8mb4;
CREATE TABLE benutzer (
  id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT,
  mandant_id BIGINT UNSIGNED NOT NULL,
  benutzername VARCHAR(60) NOT NULL UNIQUE,
  passwort VARCHAR(255) NOT NULL,
  vorname VARCHAR(60), nachname VARCHAR(60), telefon VARCHAR(40),
  FOREIGN KEY (mandant_id) REFERENCES mandanten (id)
) CHARACTER SET utf8mb4;
CREATE TABLE konten (
  id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT,
  benutzer_id BIGINT UNSIGNED NOT NULL,
  kontonummer VARCHAR(34) NOT NULL,
  bezeichnung VARCHAR(80),
  anfangssaldo DECIMAL(14,2) NOT NULL DEFAULT 0,
  waehrung CHAR(3) NOT NULL DEFAULT 'EUR',
  UNIQUE KEY konten_nummer (benutzer_id, kontonummer),
  FOREIGN KEY (benutzer_id) REFERENCES benutzer (id)
) CHARACTER SET utf8mb4;
CREATE TABLE buchungen (
  id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT,
  konto_id BIGINT UNSIGNED NOT NULL,
  benutzer_id BIGINT UNSIGNED NOT NULL,
  buchungstag DATE NOT NULL,
  verwendungszweck VARCHAR(140),
  empfaenger VARCHAR(80),
  betrag DECIMAL(14,2) NOT NULL,
  rechnungsbetrag DECIMAL(14,2) GENERATED ALWAYS AS (betrag * 1.19) STORED,
  steuersatz DECIMAL(5,2),
  FULLTEXT KEY (verwendungszweck),
  FOREIGN KEY (konto_id) REFERENCES konten (id),
  FOREIGN KEY (benutzer_id) REFERENCES benutzer (id)
) CHARACTER SET utf8mb4;
CREATE TABLE lieferanten (
  id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT,
  name VARCHAR(80) NOT NULL,
  iban VARCHAR(34),
  anschrift VARCHAR(200),
  notiz VARCHAR(200)
) CHARACTER SET utf8mb4;
-- log
SELECT id, passwort FROM benutzer WHERE benutzername = 'ada'
SELECT SUM(betrag) FROM buchungen WHERE benutzer_id = 7 AND buchungstag >= '2026-01-01'
SELECT id, betrag FROM buchungen WHERE benutzer_id = 7 AND empfaenger = 'Stadtwerke'
SELECT id FROM konten WHERE benutzer_id = 7 AND kontonummer = 'DE02120300000000202051'
UPDATE buchungen SET betrag = betrag + 1 WHERE id = 3
