package suggest

import (
	"slices"
	"strings"
	"unicode"
)

// kind is what a column holds, as far as name and type tell.
type kind int

const (
	none kind = iota
	technical
	text
	person
	handle
	contact
	account
	amount
	place
	network
)

// String says it in a comment.
func (k kind) String() string {
	return [...]string{"nothing personal", "a technical column", "text", "personal data", "a name that others see", "contact data",
		"an account or a document of a person", "an amount", "a place", "an address in the network"}[k]
}

// vocabulary is the words that tell what a column holds, by language. A word is a part of a name (see parts), or two of them
// that follow each other and are written together.
var vocabulary = []struct {
	language string
	kind     kind
	words    string
}{
	{"English", text, "name title subject headline body content contents message note notes comment comments description memo remark remarks text answer question reason " +
		"excerpt abstract summary bio biography about details story feedback review caption heading diagnosis symptoms medication allergies prescription payee purpose narration transcript instructions motto signature"},
	{"English", person, "firstname lastname surname fullname middlename maidenname givenname familyname realname birthname birthday birthdate birth dob dateofbirth gender sex religion nationality ethnicity salutation patient author"},
	{"English", handle, "username login nickname displayname nicename screenname handle"},
	{"English", contact, "email mail phone telephone mobile cell fax address street city town zip zipcode postcode postal postalcode suburb county skype whatsapp website"},
	{"English", account, "iban bic swift bankaccount accountnumber cardnumber creditcard pan ssn socialsecurity taxid taxnumber vat vatid vatnumber passport passportnumber licenseplate licence insurance insurancenumber"},
	{"English", amount, "amount price total subtotal balance salary wage income cost costs fee sum budget debit credit opening tip discount weight height bloodpressure glucose heartrate"},
	{"English", place, "latitude longitude lat lng lon coordinates geolocation gps"},
	{"English", network, "ip ipaddress ipaddr remoteaddr useragent agent"},

	{"German", text, "bezeichnung titel betreff ueberschrift inhalt nachricht notiz notizen bemerkung bemerkungen kommentar beschreibung anmerkung anmerkungen antwort frage grund zusammenfassung tagebuch eintrag diagnose symptome medikation zweck verwendungszweck empfaenger auftraggeber"},
	{"German", person, "vorname nachname familienname geburtsname geburtstag geburtsdatum geburtsort geschlecht konfession staatsangehoerigkeit anrede"},
	{"German", handle, "benutzername anmeldename spitzname anzeigename"},
	{"German", contact, "telefon telefonnummer rufnummer handy mobil mobilnummer adresse anschrift strasse hausnummer ort stadt plz postleitzahl wohnort"},
	{"German", account, "kontonummer bankverbindung steuernummer steuerid sozialversicherungsnummer versicherungsnummer ausweisnummer reisepass kennzeichen"},
	{"German", amount, "betrag preis summe gesamt saldo gehalt lohn einkommen kosten gebuehr umsatz guthaben gewicht groesse"},
	{"German", place, "breitengrad laengengrad koordinaten"},
	{"German", network, "ipadresse"},

	{"French", text, "titre sujet contenu corps texte remarque commentaire objet reponse"},
	{"French", person, "prenom nomfamille naissance datenaissance sexe nationalite"},
	{"French", handle, "pseudo pseudonyme"},
	{"French", contact, "courriel telephone portable adresse rue ville codepostal"},
	{"French", account, "numerocompte numerosecu"},
	{"French", amount, "montant prix solde salaire somme cout"},

	{"Spanish", text, "titulo asunto contenido cuerpo texto mensaje nota notas comentario comentarios descripcion observaciones respuesta"},
	{"Spanish", person, "nombre apellido apellidos nacimiento fechanacimiento sexo"},
	{"Spanish", contact, "correo telefono movil direccion calle ciudad codigopostal"},
	{"Spanish", amount, "importe monto precio saldo sueldo suma costo"},

	{"Italian", text, "titolo oggetto contenuto testo messaggio nota commento descrizione risposta"},
	{"Italian", person, "nome cognome nascita datanascita sesso"},
	{"Italian", contact, "telefono cellulare indirizzo citta"},
	{"Italian", account, "codicefiscale"},
	{"Italian", amount, "importo prezzo saldo stipendio somma costo"},

	{"Dutch", text, "titel onderwerp inhoud bericht notitie opmerking opmerkingen omschrijving beschrijving antwoord"},
	{"Dutch", person, "voornaam achternaam geboortedatum geslacht"},
	{"Dutch", contact, "telefoon telefoonnummer mobiel adres straat woonplaats postcode"},
	{"Dutch", account, "bsn rekeningnummer"},
	{"Dutch", amount, "bedrag prijs totaal saldo loon"},

	{"Portuguese", text, "assunto conteudo corpo mensagem nota comentario descricao observacoes resposta"},
	{"Portuguese", person, "sobrenome nascimento datanascimento sexo"},
	{"Portuguese", contact, "telefone celular endereco rua cidade cep"},
	{"Portuguese", account, "cpf"},
	{"Portuguese", amount, "valor preco saldo salario soma custo"},

	// What a program keeps for itself. One such word in a name outweighs all others, save where a longer word holds it.
	{"English", technical, "hash hashed password passwd pass pwd token secret salt nonce checksum digest status state type kind class slug uuid guid key locale language lang currency timezone " +
		"version revision count counter number position sort order rank priority level flag enabled active visible public deleted color colour format mime extension path file filename " +
		"url uri link domain model driver queue connection session migration batch channel template theme mode method action event code symbol unit icon image avatar percent percentage rate ratio weighting factor score attempts pinged ping filtered"},
	{"German", technical, "passwort kennwort zustand typ art klasse sprache waehrung anzahl reihenfolge rang stufe farbe datei dateiname pfad verweis vorlage modus einheit prozent prozentsatz satz rabattsatz kennung"},
}

// compound are the words that German and Dutch names end in: rechnungsbetrag, emailadresse. They are long enough to mean
// nothing else.
var compound = map[string]kind{
	"betrag": amount, "preis": amount, "summe": amount, "kosten": amount, "saldo": amount, "bedrag": amount,
	"adresse": contact, "anschrift": contact, "telefon": contact, "telefonnummer": contact, "strasse": contact,
	"beschreibung": text, "bemerkung": text, "kommentar": text, "nachricht": text, "notiz": text, "omschrijving": text, "opmerking": text,
	"geburtsdatum": person, "kontonummer": account, "versicherungsnummer": account,
	"satz": technical, "schluessel": technical, "datei": technical,
}

// userTables are names of the table of those who own the rows, in the singular.
var userTables = wordSet("user account member customer client person patient participant author owner subscriber student employee profile login " +
	"benutzer nutzer anwender konto mitglied kunde person patient teilnehmer mitarbeiter autor " +
	"utilisateur usuario utente gebruiker klant cliente membre miembro")

// ownerWords are parts of names of a column that holds the owner of a row.
var ownerWords = wordSet("user userid uid owner ownerid author authorid creator createdby member customer client account benutzer benutzerid nutzer besitzer eigentuemer autor " +
	"mitglied kunde utilisateur auteur proprietaire usuario autor propietario utente proprietario gebruiker eigenaar klant")

// technicalTables are names of tables that frameworks keep for themselves, without a prefix.
var technicalTables = wordSet("migrations sessions session cache cachelocks jobs jobbatches failedjobs passwordresets passwordresettokens personalaccesstokens " +
	"schemamigrations arinternalmetadata djangomigrations djangocontenttype djangosession djangoadminlog authpermission authgroup authgrouppermissions " +
	"authuserusersgroups authuserusergroups authusergroups authuseruserpermissions options termmeta terms termtaxonomy termrelationships links " +
	"doctrinemigrationversions flywayschemahistory knexmigrations sequelizemeta alembicversion oauthaccesstokens oauthauthcodes oauthclients oauthrefreshtokens telescopeentries")

func wordSet(words string) map[string]bool {
	set := make(map[string]bool)
	for word := range strings.FieldsSeq(words) {
		set[word] = true
	}
	return set
}

// meaning is a word of the vocabulary.
type meaning struct {
	word, language string
	kind           kind
}

// dictionary finds words.
var dictionary = func() map[string]meaning {
	all := make(map[string]meaning)
	for _, v := range vocabulary {
		for word := range strings.FieldsSeq(v.words) {
			if _, known := all[word]; !known {
				all[word] = meaning{word, v.language, v.kind}
			}
		}
	}
	return all
}()

// umlauts are written with two letters, accents without.
var plainLetters = strings.NewReplacer("\u00e4", "ae", "\u00f6", "oe", "\u00fc", "ue", "\u00df", "ss", "\u00e9", "e", "\u00e8", "e", "\u00ea", "e", "\u00e0", "a", "\u00e1", "a", "\u00e3", "a",
	"\u00e7", "c", "\u00ed", "i", "\u00f3", "o", "\u00f5", "o", "\u00fa", "u", "\u00f1", "n", "\u00f4", "o", "\u00e2", "a", "\u00ee", "i")

// parts cuts a name where words begin (billing_address1, billingAddress) and gives them in lower case without accents and
// digits.
func parts(name string) []string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r):
			b.WriteByte(' ')
			continue
		case unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsUpper(runes[i-1]) && unicode.IsLower(runes[i+1])):
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.Fields(plainLetters.Replace(b.String()))
}

// mean finds what a column's name says: two words together before one alone, technical ones before others. A word of the table's
// name, as in posts.post_status, says nothing unless it is alone.
func mean(name, table string) (meaning, bool) {
	words := parts(name)
	if tables := parts(table); len(tables) > 0 && len(words) > 1 {
		own := singular(tables[len(tables)-1])
		words = slices.DeleteFunc(words, func(w string) bool { return w == own })
	}
	var found meaning
	for i := 0; i < len(words); i++ {
		m, ok := meaning{}, false
		if i+1 < len(words) {
			if m, ok = dictionary[words[i]+words[i+1]]; ok {
				i++
			}
		}
		if !ok {
			m, ok = meanWord(words[i])
		}
		switch {
		case !ok:
		case m.kind == technical:
			return m, true
		default:
			found = m // the last word of a name says what it is, the ones before it of whom
		}
	}
	return found, found.kind != none
}

func meanWord(word string) (meaning, bool) {
	if m, ok := dictionary[word]; ok {
		return m, true
	}
	for i := 3; i <= len(word)-4; i++ {
		if k, ok := compound[word[i:]]; ok {
			return meaning{word[i:], "German", k}, true
		}
	}
	return meaning{}, false
}

// together is a name as one word: post_categories and postCategories are postcategories.
func together(name string) string { return strings.Join(parts(name), "") }

// singular takes off the plural of English and German names.
func singular(word string) string {
	switch {
	case strings.HasSuffix(word, "ies"):
		return word[:len(word)-3] + "y"
	case strings.HasSuffix(word, "sses"), strings.HasSuffix(word, "xes"):
		return word[:len(word)-2]
	case strings.HasSuffix(word, "s") && !strings.HasSuffix(word, "ss"):
		return word[:len(word)-1]
	case strings.HasSuffix(word, "kunden"), strings.HasSuffix(word, "personen"), strings.HasSuffix(word, "patienten"), strings.HasSuffix(word, "konten"):
		for _, ending := range [][2]string{{"kunden", "kunde"}, {"personen", "person"}, {"patienten", "patient"}, {"konten", "konto"}} {
			if base, ok := strings.CutSuffix(word, ending[0]); ok {
				return base + ending[1]
			}
		}
	}
	return word
}
