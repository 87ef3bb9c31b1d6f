CREATE TABLE `auth_group` (`id` integer AUTO_INCREMENT NOT NULL PRIMARY KEY, `name` varchar(150) NOT NULL UNIQUE);
CREATE TABLE `auth_user` (
  `id` integer AUTO_INCREMENT NOT NULL PRIMARY KEY,
  `password` varchar(128) NOT NULL,
  `last_login` datetime(6) NULL,
  `is_superuser` bool NOT NULL,
  `username` varchar(150) NOT NULL UNIQUE,
  `first_name` varchar(150) NOT NULL,
  `last_name` varchar(150) NOT NULL,
  `email` varchar(254) NOT NULL,
  `is_staff` bool NOT NULL,
  `is_active` bool NOT NULL,
  `date_joined` datetime(6) NOT NULL
);
CREATE TABLE `auth_user_groups` (
  `id` bigint AUTO_INCREMENT NOT NULL PRIMARY KEY,
  `user_id` integer NOT NULL,
  `group_id` integer NOT NULL,
  UNIQUE (`user_id`, `group_id`),
  FOREIGN KEY (`user_id`) REFERENCES `auth_user` (`id`),
  FOREIGN KEY (`group_id`) REFERENCES `auth_group` (`id`)
);
CREATE TABLE `django_session` (`session_key` varchar(40) NOT NULL PRIMARY KEY, `session_data` longtext NOT NULL, `expire_date` datetime(6) NOT NULL);
CREATE TABLE `clinic_visit` (
  `id` bigint AUTO_INCREMENT NOT NULL PRIMARY KEY,
  `created_by_id` integer NOT NULL,
  `diagnosis` longtext NOT NULL,
  `fee` numeric(8, 2) NOT NULL,
  `insurance_number` varchar(20) NOT NULL,
  `visited_on` date NOT NULL,
  `room` varchar(10) NOT NULL,
  FOREIGN KEY (`created_by_id`) REFERENCES `auth_user` (`id`)
);
CREATE TABLE `clinic_audit` (
  `id` bigint AUTO_INCREMENT NOT NULL PRIMARY KEY,
  `visit_id` bigint NOT NULL,
  `note` varchar(200) NOT NULL
);
CREATE TABLE `clinic_lead` (
  `id` bigint AUTO_INCREMENT NOT NULL PRIMARY KEY,
  `email` varchar(254) NOT NULL,
  `Phone` varchar(40) NOT NULL,
  `remarks` varchar(200) NOT NULL
);
CREATE TRIGGER clinic_lead_phone BEFORE INSERT ON `clinic_lead` FOR EACH ROW SET NEW.Phone = TRIM(NEW.Phone);
-- log
SELECT `auth_user`.`id`, `auth_user`.`password` FROM `auth_user` WHERE `auth_user`.`username` = 'ada' LIMIT 21
SELECT `auth_user`.`id` FROM `auth_user` WHERE `auth_user`.`email` = 'ada@example.org'
SELECT COUNT(*) AS `__count` FROM `clinic_visit` WHERE `clinic_visit`.`insurance_number` = 'A123'
SELECT `clinic_visit`.`id` FROM `clinic_visit` WHERE (`clinic_visit`.`created_by_id` = 1 AND `clinic_visit`.`fee` > 10.0)
